#include <sys/utsname.h>

#include "core/cpu.h"
#include "core/error.h"
#include "host/host.h"
#include "host/host_kernel.h"
#include "host/host_surface.h"
#include "host/parallel.h"
#include "mil/diagnostic.h"

namespace milane::host {
namespace {

const mil::Function& pick_function(const mil::Program& program, const std::string& wanted) {
  std::string names;
  for (const auto& f : program.functions) names += (names.empty() ? "" : ", ") + f->name;
  const std::string name = wanted.empty() && program.functions.size() > 1 ? "main" : wanted;
  if (name.empty() && program.functions.size() == 1) return *program.functions.front();
  if (const mil::Function* f = program.function(name)) return *f;
  throw Error(ErrorCode::kInvalidArgument,
              program.source_name + ": expected one of the functions " + names + ", got " + name,
              "pass function= to compile()");
}

class HostBackend final : public Backend {
 public:
  std::string name() const override { return "host"; }
  std::string status() const override {
    return "CPU engine, " + std::string(isa_name(cpu_isa())) + ", " +
           std::to_string(num_threads()) + " threads";
  }
  DeviceInfo info() const override {
    DeviceInfo info;
    utsname u{};
    if (uname(&u) == 0) {
      info.architecture = u.machine;
      info.product = u.sysname;
      info.build_version = u.release;
    }
    return info;
  }
  KernelPtr compile(mil::ProgramPtr program, const WeightSet& weights,
                    const CompileOptions& options) override {
    const mil::Function& function = pick_function(*program, options.function);
    try {
      return make_host_kernel(make_plan(*program, function, weights, options));
    } catch (Error& e) {
      // The device's own domain and class for accepted text that cannot be lowered (its error 1).
      if (e.domain().empty() && e.code() != ErrorCode::kFile && e.code() != ErrorCode::kBlob) {
        e.from_device("com.apple.appleneuralengine.compiler", 1, "CompilationFailure");
      }
      throw e.during("compile");
    }
  }
  SurfacePtr make_surface(const TensorLayout& layout) override { return make_host_surface(layout); }
};

}  // namespace

BackendPtr make_host_backend() { return std::make_shared<HostBackend>(); }

}  // namespace milane::host
