// The contract both backends fulfil. Pools, futures, pipelines and caches live above it, once.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/ane_rules.h"
#include "backend/weights.h"
#include "core/layout.h"
#include "mil/program.h"

namespace milane {

// fp16: every fp16 result is rounded to half. fp32: fp16 tensors are held as fp32 and never
// rounded, to locate drift. ane: fp16 plus the published quirks of the device that `quirks` names.
enum class Numerics : std::uint8_t { kFp16, kFp32, kAne };

struct CompileOptions {
  std::string function;  // empty: "main", or the only one
  Numerics numerics = Numerics::kFp16;
  QuirkSet quirks = default_quirks();  // read when numerics is kAne
  std::map<std::string, Dims> shapes;  // concrete shapes for flexible inputs
  bool fuse = true;                    // host: elementwise chains in one pass
};

struct DeviceInfo {
  bool has_ane = false;
  int num_cores = 0;
  std::string architecture, product, build_version;
  bool is_vm = false;
};

// Memory with a layout. Base address is page aligned.
class Surface {
 public:
  virtual ~Surface() = default;
  virtual const TensorLayout& layout() const = 0;
  // The CPU may touch the bytes between lock and unlock; locks nest.
  virtual std::byte* lock(bool write) = 0;
  virtual void unlock(bool write) = 0;
  // IOSurfaceRef on the Mac, the base address elsewhere.
  virtual std::uintptr_t handle() const = 0;
};
using SurfacePtr = std::shared_ptr<Surface>;

struct StepTime {
  std::string op, name;
  int line = 0;
  std::int64_t ns = 0;
};

struct EvalStats {
  std::int64_t wall_ns = 0;
  std::optional<std::int64_t> hw_execution_ns;  // empty where the device does not report it
  std::vector<StepTime> steps;                  // host, on request
};

// A kernel with its surfaces fixed: evaluation pays no set-up. One thread at a time.
class Request {
 public:
  virtual ~Request() = default;
  virtual void eval() = 0;
  virtual EvalStats eval_with_stats(bool per_op) = 0;
};

struct Port {
  std::string name;
  TensorLayout layout;
};

// A compiled, loaded program. Inputs and states keep the function's declaration order, outputs the
// order of its return list; binding is by these lists. Safe to bind from several threads.
class Kernel : public std::enable_shared_from_this<Kernel> {
 public:
  virtual ~Kernel() = default;
  virtual const std::string& function() const = 0;
  virtual const std::vector<Port>& inputs() const = 0;
  virtual const std::vector<Port>& outputs() const = 0;
  virtual const std::vector<Port>& states() const = 0;
  virtual std::unique_ptr<Request> bind(const std::vector<SurfacePtr>& inputs,
                                        const std::vector<SurfacePtr>& outputs,
                                        const std::vector<SurfacePtr>& states) = 0;
};
using KernelPtr = std::shared_ptr<Kernel>;

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;    // "host" or "ane"
  virtual std::string status() const = 0;  // one line: why it is or is not available
  virtual DeviceInfo info() const = 0;
  virtual KernelPtr compile(mil::ProgramPtr program, const WeightSet& weights,
                            const CompileOptions& options) = 0;
  virtual SurfacePtr make_surface(const TensorLayout& layout) = 0;
};
using BackendPtr = std::shared_ptr<Backend>;

}  // namespace milane
