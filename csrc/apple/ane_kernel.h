// A program on the device, and its requests.
#pragma once

#import "apple/private_api.h"

#include <atomic>
#include <memory>

#include "apple/attributes.h"
#include "apple/loaded_model.h"
#include "backend/backend.h"

namespace milane::apple {

// Whether this process asked for real-time scheduling, and what came of it. Shared by a backend and
// its kernels.
struct RealtimeState {
  std::atomic<int> depth{0};  // nested sections
  std::atomic<bool> granted{false};
};

// What a kernel is made from, kept for a reload.
struct KernelSource {
  Framework framework;
  mil::ProgramPtr program;  // as the device gets it
  std::string text;
  CompileOptions options;  // with the function's name
  std::shared_ptr<RealtimeState> realtime;
};

class AneKernel final : public Kernel {
 public:
  // Compiles (unless the system's cache spares it), loads, and reads the layouts.
  static KernelPtr make(KernelSource source, const WeightSet& weights);
  ~AneKernel() override;

  const std::string& function() const override { return source_.options.function; }
  const std::vector<Port>& inputs() const override { return inputs_; }
  const std::vector<Port>& outputs() const override { return outputs_; }
  const std::vector<Port>& states() const override { return states_; }
  std::unique_ptr<Request> bind(const std::vector<SurfacePtr>& inputs,
                                const std::vector<SurfacePtr>& outputs,
                                const std::vector<SurfacePtr>& states) override;
  KernelPtr reload(const WeightSet& weights, std::string* how) override;
  Diagnostics diagnostics() const override;
  void close() override;

  LoadedModel& model() const { return *model_; }
  const DevicePorts& ports() const { return ports_; }
  const KernelSource& source() const { return source_; }
  // After an evaluation with shared events an unload crashes inside the framework (ane_facts A.8).
  void never_unload() { unloadable_ = false; }

 private:
  AneKernel(KernelSource source, std::unique_ptr<LoadedModel> model, DevicePorts ports);

  const KernelSource source_;
  std::unique_ptr<LoadedModel> model_;
  DevicePorts ports_;
  std::vector<Port> inputs_, outputs_, states_;
  std::atomic<bool> loaded_{true}, unloadable_{true};
};

std::unique_ptr<Request> make_ane_request(std::shared_ptr<AneKernel> kernel,
                                          const std::vector<SurfacePtr>& inputs,
                                          const std::vector<SurfacePtr>& outputs);

}  // namespace milane::apple
