#include <mutex>
#include "apple/ane_kernel.h"

#include "apple/apple.h"
#include "apple/device_error.h"
#include "apple/iosurface.h"
#include "apple/objc.h"
#include "apple/private_api.h"
#include "backend/compiling.h"
#include "backend/device_program.h"
#include "mil/parser.h"
#include "mil/printer.h"

namespace milane::apple {
namespace {

std::string string_of(Class<ANEDeviceInfo> info, SEL selector) {
  if (!answers((id)info, selector)) return "";
  return text([(id)info performSelector:selector]);
}

DeviceInfo read_info(Class<ANEDeviceInfo> info) {
  DeviceInfo found;
  found.has_ane = [info hasANE];
  if (answers((id)info, @selector(numANECores))) {
    found.num_cores = static_cast<int>([info numANECores]);
  }
  found.architecture = string_of(info, @selector(aneArchitectureType));
  if (found.architecture.empty()) found.architecture = string_of(info, @selector(aneSubType));
  found.product = string_of(info, @selector(productName));
  found.build_version = string_of(info, @selector(buildVersion));
  if (answers((id)info, @selector(isVirtualMachine))) found.is_vm = [info isVirtualMachine];
  return found;
}

// The user's own text where it still says what the program does, else the canonical one.
std::string text_of(const mil::Program& program) {
  std::string canonical = mil::print(program);
  if (program.source.empty()) return canonical;
  return mil::print(*mil::parse(program.source)) == canonical ? program.source : canonical;
}

class AneBackend final : public Backend {
 public:
  AneBackend(Framework framework, DeviceInfo info)
      : framework_(framework), info_(std::move(info)) {}

  std::string name() const override { return "ane"; }
  std::string status() const override {
    return "Apple Neural Engine" + (info_.architecture.empty() ? "" : ", " + info_.architecture) +
           (info_.num_cores ? ", " + std::to_string(info_.num_cores) + " cores" : "");
  }
  DeviceInfo info() const override { return info_; }

  KernelPtr compile(mil::ProgramPtr program, const WeightSet& weights,
                    const CompileOptions& options) override {
    if (options.numerics == Numerics::kFp32 || options.numerics == Numerics::kBf16) {
      const std::string name = options.numerics == Numerics::kFp32 ? "fp32" : "bf16";
      throw Error(ErrorCode::kUnsupported,
                  "compile: expected numerics the device has, got \"" + name + "\"",
                  "the engine computes in half precision; numerics=\"" + name + "\" is the host's");
    }
    const std::string function = pick_function(*program, options.function).name;
    KernelSource source{framework_, nullptr, "", options, realtime_};
    source.options.function = function;
    if (options.route == Route::kPackage) {
      source.program = std::move(program);
    } else {
      bool changed = false;
      source.program = device_program(*program, function, options.shapes, &changed);
      source.text = changed ? mil::print(*source.program) : text_of(*program);
    }
    try {
      return AneKernel::make(std::move(source), weights);
    } catch (Error& e) {
      if (e.stage().empty()) e.during("compile");
      throw;
    }
  }

  SurfacePtr make_surface(const TensorLayout& layout, SurfaceStyle style) override {
    return std::make_shared<AneSurface>(layout, style);
  }
  SharedEventPtr make_event() override { return required(make_iosurface_event()); }
  SharedEventPtr event_from_port(std::uint32_t port) override {
    return required(iosurface_event_from_port(port));
  }

  RealtimeGrant begin_realtime() override {
    const std::lock_guard lock(realtime_mutex_);
    if (realtime_->depth == 0) {
      answer_ = objc("realtime", [&] { return ask_realtime(); });
      realtime_->granted = answer_.granted;
    }
    ++realtime_->depth;
    return answer_;
  }
  void end_realtime() override {
    const std::lock_guard lock(realtime_mutex_);
    if (realtime_->depth == 0 || --realtime_->depth > 0) return;
    if (realtime_->granted.exchange(false)) {
      objc("realtime", [&] { [client() endRealTimeTask]; });
    }
  }

 private:
  static SharedEventPtr required(SharedEventPtr event) {
    if (!event) throw_missing("IOSurfaceSharedEvent", "setSignaledValue:");
    return event;
  }

  id<ANEClient> client() {
    if (!answers((id)framework_.client, @selector(sharedConnection))) return nil;
    return [framework_.client sharedConnection];
  }

  RealtimeGrant ask_realtime() {
    const id<ANEClient> c = client();
    if (!answers(c, @selector(beginRealTimeTask)) || !answers(c, @selector(endRealTimeTask))) {
      return {false, "this system has no beginRealTimeTask"};
    }
    if ([c beginRealTimeTask]) return {true, "granted"};
    return {false, "beginRealTimeTask answered NO: the process may lack the entitlement"};
  }

  const Framework framework_;
  const DeviceInfo info_;
  const std::shared_ptr<RealtimeState> realtime_ = std::make_shared<RealtimeState>();
  std::mutex realtime_mutex_;
  RealtimeGrant answer_;  // to the outermost section
};

}  // namespace

BackendPtr make_ane_backend(std::string* why) {
  try {
    return objc("open", [&]() -> BackendPtr {
      Framework framework{};
      if (!open_framework(&framework, why)) return nullptr;
      DeviceInfo info = read_info(framework.device_info);
      if (!info.has_ane) {
        *why = "the system says that this machine has no Neural Engine";
        return nullptr;
      }
      return std::make_shared<AneBackend>(framework, std::move(info));
    });
  } catch (const Error& e) {
    *why = e.message();
    return nullptr;
  }
}

}  // namespace milane::apple
