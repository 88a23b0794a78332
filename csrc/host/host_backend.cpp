#include <sys/utsname.h>

#include "core/cpu.h"
#include "host/host.h"
#include "host/host_event.h"
#include "host/host_kernel.h"
#include "host/host_surface.h"
#include "host/parallel.h"

namespace milane::host {
namespace {

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
    return compile_host_kernel(std::move(program), weights, options);
  }
  SurfacePtr make_surface(const TensorLayout& layout, SurfaceStyle) override {
    return make_host_surface(layout);
  }
  SharedEventPtr make_event() override { return make_host_event(); }
  SharedEventPtr event_from_port(std::uint32_t port) override { return host_event_from_port(port); }
};

}  // namespace

BackendPtr make_host_backend() { return std::make_shared<HostBackend>(); }

}  // namespace milane::host
