// The contract both backends fulfil. Pools, futures, pipelines and caches live above it, once.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/ane_rules.h"
#include "backend/compile_cache.h"
#include "backend/compile_counter.h"
#include "backend/event.h"
#include "backend/surface.h"
#include "backend/weights.h"
#include "mil/program.h"

namespace milane {

// fp16: every fp16 result is rounded to half. fp32: fp16 tensors are held as fp32 and never
// rounded, to locate drift. ane: fp16 plus the published quirks of the device that `quirks` names.
// bf16: fp16, but operands of products with constant weights are rounded to bf16 first.
enum class Numerics : std::uint8_t { kFp16, kFp32, kAne, kBf16 };

// How the device is handed a program (ane_facts B.1, B.3). memory: the in-memory model. client: the
// files in a directory of ours, through the client. package: the client over a .mlmodelc.
enum class Route : std::uint8_t { kMemory, kClient, kPackage };

struct CompileOptions {
  std::string function;  // empty: "main", or the only one
  Numerics numerics = Numerics::kFp16;
  QuirkSet quirks = default_quirks();  // read when numerics is kAne
  std::map<std::string, Dims> shapes;  // concrete shapes for flexible inputs
  bool fuse = true;                    // host: elementwise chains in one pass

  // The device's; the host has no use for them.
  Route route = Route::kMemory;
  std::string package, model_key = "s";  // kPackage: the folder, and the key in it
  std::uint32_t qos = 21;                // ane_facts B.6
  std::uint32_t perf_stats_mask = 0;
  bool use_cache = true;  // load what the system compiled before instead of compiling again

  std::shared_ptr<CompileCache> cache;  // the host's: packed weights of earlier compiles, when set

  std::shared_ptr<CompileCounter> compiles;    // every real compile is counted here, when set
  std::optional<std::int64_t> compile_budget;  // throws kBudget instead of going past it
};

struct DeviceInfo {
  bool has_ane = false;
  int num_cores = 0;
  std::string architecture, product, build_version;
  bool is_vm = false;
};

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

// Ways into the device (ane_facts A.11); the host has one.
enum class EvalPath : std::uint8_t { kStandard, kDirect, kRealtime };

struct EvalOptions {
  EvalPath path = EvalPath::kStandard;
  std::vector<EventPoint> wait, signal;  // before the program starts; after it has ended
  bool disable_io_fences = true;         // ane_facts A.8
  bool enable_fw_to_fw_signal = false;
  // For the host's events, and on the device the completion where there are no events, for which
  // the framework has a patience of its own. < 0: for ever.
  std::int64_t timeout_ns = -1;
};

// A kernel with its surfaces fixed: evaluation pays no set-up. One thread at a time.
class Request {
 public:
  virtual ~Request() = default;
  virtual void eval() = 0;
  virtual void eval_with(const EvalOptions& options) = 0;
  virtual EvalStats eval_with_stats(bool per_op) = 0;
};

struct Port {
  std::string name;
  TensorLayout layout;
};

struct Diagnostics {
  std::optional<int> model_queue_depth;
  std::optional<std::string> program_class;
};

class Kernel;
using KernelPtr = std::shared_ptr<Kernel>;

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
  // The same program with other weights, `how` in one word: "donor" (loaded without a compile),
  // "cached" (compiled before), "compiled". This kernel stays as it is.
  virtual KernelPtr reload(const WeightSet& weights, std::string* how) = 0;
  virtual Diagnostics diagnostics() const { return {}; }
  // Unloads it, with a throw where the destructor would be silent; requests must be gone by then.
  virtual void close() {}
};

// What a device answers to a wish for real-time scheduling; evaluations may go on either way.
struct RealtimeGrant {
  bool granted = false;
  std::string why;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;    // "host" or "ane"
  virtual std::string status() const = 0;  // one line: why it is or is not available
  virtual DeviceInfo info() const = 0;
  virtual KernelPtr compile(mil::ProgramPtr program, const WeightSet& weights,
                            const CompileOptions& options) = 0;
  virtual SurfacePtr make_surface(const TensorLayout& layout,
                                  SurfaceStyle style = SurfaceStyle::kFlat) = 0;
  virtual SharedEventPtr make_event() = 0;
  // The event another holder calls `port`. Throws kInvalidArgument when there is none.
  virtual SharedEventPtr event_from_port(std::uint32_t port) = 0;
  virtual RealtimeGrant begin_realtime() { return {true, "the host has one priority"}; }
  virtual void end_realtime() {}
};
using BackendPtr = std::shared_ptr<Backend>;

}  // namespace milane
