// The client's routes: a package, or a folder of ours with a program's files (ane_facts B.3). The
// in-memory wrapper is reported to leak; these are the way around it (A.2).
#include <filesystem>

#include "apple/framework_call.h"
#include "apple/loaded_model.h"

namespace milane::apple {
namespace {

// What both routes call, so that neither fails half way.
void require_client_methods() {
  const std::pair<const char*, SEL> needed[] = {
      {"compileModel:options:qos:error:", @selector(compileModel:options:qos:error:)},
      {"loadModel:options:qos:error:", @selector(loadModel:options:qos:error:)},
      {"unloadModel:options:qos:error:", @selector(unloadModel:options:qos:error:)},
      {"evaluateWithModel:options:request:qos:error:",
       @selector(evaluateWithModel:options:request:qos:error:)}};
  for (const auto& [name, selector] : needed) {
    if (!instances_answer("_ANEClient", selector)) throw_missing("_ANEClient", name);
  }
}

class ClientModel final : public LoadedModel {
 public:
  ClientModel(const Framework& framework, const std::string& folder, const std::string& key,
              const CompileOptions& options)
      : LoadedModel(framework, options) {
    require_client_methods();
    if (!answers((id)framework_.model, @selector(modelAtURL:key:))) {
      throw_missing("_ANEModel", "modelAtURL:key:");
    }
    NSURL* url = [NSURL fileURLWithPath:ns(folder) isDirectory:YES];
    model_ = Own<id<ANEModel>>::keep([framework_.model modelAtURL:url key:ns(key)]);
    if (!model_) throw nil_error("descriptor", "a model of " + folder);
    set_stats_mask(model_.get());
  }
  // A folder to remove once the model is gone.
  void own(std::string folder) { folder_ = std::move(folder); }
  ~ClientModel() override {
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }

  bool is_compiled() override {
    return answers(client(), @selector(compiledModelExistsFor:)) &&
           [client() compiledModelExistsFor:model_.get()];
  }
  void purge() override {
    if (answers(client(), @selector(purgeCompiledModel:))) {
      [client() purgeCompiledModel:model_.get()];
    }
  }
  void compile() override {
    check("compile", [&](NSError** e) {
      return [client() compileModel:model_.get() options:@{} qos:qos_ error:e];
    });
    set_stats_mask(model_.get());
  }
  void load() override {
    check("load", [&](NSError** e) {
      return [client() loadModel:model_.get() options:@{} qos:qos_ error:e];
    });
    set_stats_mask(model_.get());
  }
  void unload() override {
    check("unload", [&](NSError** e) {
      return [client() unloadModel:model_.get() options:@{} qos:qos_ error:e];
    });
  }
  id model() override { return model_.get(); }

  void evaluate(id request, NSDictionary* options) override {
    check("eval", [&](NSError** e) {
      return [client() evaluateWithModel:model_.get()
                                 options:options
                                 request:request
                                     qos:qos_
                                   error:e];
    });
  }
  bool map(id request) override {
    const id<ANEClient> c = client();
    if (!answers(c, @selector(mapIOSurfacesWithModel:request:cacheInference:error:)) ||
        !answers(c, @selector(unmapIOSurfacesWithModel:request:))) {
      return false;
    }
    if ([c mapIOSurfacesWithModel:model_.get() request:request cacheInference:YES error:NULL]) {
      return true;
    }
    check("map", [&](NSError** e) {
      return [c mapIOSurfacesWithModel:model_.get() request:request cacheInference:NO error:e];
    });
    return true;
  }
  void unmap(id request) override {
    [client() unmapIOSurfacesWithModel:model_.get() request:request];
  }
  bool takes_events() const override { return true; }

 private:
  std::string folder_;
  Own<id<ANEModel>> model_;
};

}  // namespace

std::unique_ptr<LoadedModel> make_package_model(const Framework& framework,
                                                const CompileOptions& options) {
  return std::make_unique<ClientModel>(framework, options.package, options.model_key, options);
}

std::unique_ptr<LoadedModel> make_folder_model(const Framework& framework, const std::string& text,
                                               const WeightFiles& weights,
                                               const CompileOptions& options) {
  const std::string folder = make_private_folder(milane::apple::text(NSTemporaryDirectory()));
  std::unique_ptr<ClientModel> model;
  try {
    for (const StagedFile& file : program_files(text, weights)) write_staged(folder, file);
    model = std::make_unique<ClientModel>(framework, folder, options.model_key, options);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
    throw;
  }
  model->own(folder);
  return model;
}

}  // namespace milane::apple
