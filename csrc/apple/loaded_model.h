// A program in the framework's hands, by one of its routes. All members are called inside objc().
#pragma once

#import "apple/private_api.h"

#include <memory>
#include <string>

#include "apple/attributes.h"
#include "apple/objc.h"
#include "apple/staging.h"

namespace milane::apple {

class LoadedModel {
 public:
  LoadedModel(const Framework& framework, const CompileOptions& options)
      : framework_(framework), qos_(options.qos), stats_mask_(options.perf_stats_mask) {}
  virtual ~LoadedModel() = default;

  // Whether the system has compiled this program before; false where it cannot tell.
  virtual bool is_compiled() = 0;
  virtual void purge() = 0;
  virtual void compile() = 0;
  virtual void load() = 0;
  virtual void unload() = 0;
  // The inner model: what attributes and the client's methods belong to.
  virtual id model() = 0;

  virtual void evaluate(id request, NSDictionary* options) = 0;
  // False where the system cannot map ahead. Tries with cached inference, then without (B.1).
  virtual bool map(id request) = 0;
  virtual void unmap(id request) = 0;
  // Takes over the compiled form of another model of the same text, so that load() needs no compile
  // (the donor form, ane_facts G.1). False where that cannot be.
  virtual bool adopt_compiled(LoadedModel&) { return false; }
  // Whether evaluations may wait for and signal shared events (ane_facts A.8).
  virtual bool takes_events() const = 0;

  void evaluate_direct(id request, NSDictionary* options);
  void evaluate_realtime(id request, NSDictionary* options);
  ModelAttributes attributes();
  Diagnostics diagnostics();

 protected:
  // The client to talk to. Throws kSelector where there is none.
  id<ANEClient> client();
  // Sets the mask of hardware counters where it can be set. A load clears it, so it is repeated.
  void set_stats_mask(id model);

  const Framework framework_;
  const unsigned int qos_;

 private:
  virtual id own_client() { return nil; }

  const unsigned int stats_mask_;
  Own<id> client_;
};

// The in-memory model: text and weights as data, staged in a folder that the framework names.
std::unique_ptr<LoadedModel> make_memory_model(const Framework& framework, std::string text,
                                               WeightFiles weights, const CompileOptions& options);
// The client over a folder of ours.
std::unique_ptr<LoadedModel> make_folder_model(const Framework& framework, const std::string& text,
                                               const WeightFiles& weights,
                                               const CompileOptions& options);
// The client over a package that is there already.
std::unique_ptr<LoadedModel> make_package_model(const Framework& framework,
                                                const CompileOptions& options);

}  // namespace milane::apple
