#include "host/host_kernel.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "backend/compiling.h"
#include "core/aligned.h"
#include "core/cpu.h"
#include "core/error.h"
#include "host/parallel.h"

namespace milane::host {
namespace {

std::int64_t now_ns() {
  using namespace std::chrono;
  return duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
}

// The surfaces that steps use in place stay locked while they run.
class InPlaceLocks {
 public:
  explicit InPlaceLocks(const std::vector<SurfacePtr>& surfaces) : surfaces_(surfaces) {
    for (const SurfacePtr& s : surfaces_) s->lock(true);
  }
  ~InPlaceLocks() {
    for (const SurfacePtr& s : surfaces_) s->unlock(true);
  }
  InPlaceLocks(const InPlaceLocks&) = delete;
  InPlaceLocks& operator=(const InPlaceLocks&) = delete;

 private:
  const std::vector<SurfacePtr>& surfaces_;
};

// A bound surface. Steps read and write it in place when its rows are packed; otherwise they use a
// dense copy that is filled before and written back after.
struct Binding {
  SurfacePtr surface;
  std::shared_ptr<std::byte> dense;  // null: in place

  std::byte* memory() const { return dense ? dense.get() : surface->data(); }
};

class HostRequest final : public Request {
 public:
  HostRequest(std::shared_ptr<const Plan> plan, const std::vector<SurfacePtr>& inputs,
              const std::vector<SurfacePtr>& outputs, const std::vector<SurfacePtr>& states)
      : plan_(std::move(plan)),
        arena_(aligned_bytes(plan_->arena_bytes)),
        scratch_(aligned_bytes(plan_->scratch_bytes)) {
    // A surface that is both read and written must not change while the program still reads it.
    std::set<const Surface*> read;
    for (const auto& s : inputs) read.insert(s.get());
    for (const auto& s : states) read.insert(s.get());
    for (const auto& s : states) {
      if (std::find(inputs.begin(), inputs.end(), s) == inputs.end()) continue;
      throw Error(
          ErrorCode::kInvalidArgument,
          "bind: expected a surface of its own for each state, got one that is an input too",
          "the program would see its input change while it runs");
    }
    bind(plan_->inputs, inputs, inputs_, {});
    bind(plan_->states, states, states_, {});
    bind(plan_->outputs, outputs, outputs_, read);
    fill_table();
  }

  void eval() override {
    const InPlaceLocks locks(in_place_);
    fetch(inputs_);
    fetch(states_);
    const Exec exec(table_.data(), scratch_.get());
    for (const Step& step : plan_->steps) step.run(exec);
    write_back(states_);
    write_back(outputs_);
  }

  void eval_with(const EvalOptions& options) override {
    for (const EventPoint& point : options.wait) {
      if (point.event->wait(point.value, options.timeout_ns)) continue;
      throw Error(ErrorCode::kEval, "eval: expected its event to reach " +
                                        std::to_string(point.value) + " in time, got " +
                                        std::to_string(point.event->value()));
    }
    eval();
    for (const EventPoint& point : options.signal) point.event->signal(point.value);
  }

  EvalStats eval_with_stats(bool per_op) override {
    EvalStats stats;
    const std::int64_t start = now_ns();
    if (!per_op) {
      eval();
    } else {
      stats.steps.reserve(plan_->steps.size());
      const InPlaceLocks locks(in_place_);
      fetch(inputs_);
      fetch(states_);
      const Exec exec(table_.data(), scratch_.get());
      for (const Step& step : plan_->steps) {
        const std::int64_t t = now_ns();
        step.run(exec);
        stats.steps.push_back({step.op, step.name, step.line, now_ns() - t});
      }
      write_back(states_);
      write_back(outputs_);
    }
    stats.wall_ns = now_ns() - start;
    return stats;
  }

 private:
  static void bind(const std::vector<Port>& ports, const std::vector<SurfacePtr>& surfaces,
                   std::vector<Binding>& bindings, const std::set<const Surface*>& also_read) {
    if (ports.size() != surfaces.size()) {
      throw Error(ErrorCode::kInvalidArgument, "bind: expected " + std::to_string(ports.size()) +
                                                   " surfaces, got " +
                                                   std::to_string(surfaces.size()));
    }
    std::set<const Surface*> seen;
    for (std::size_t i = 0; i < ports.size(); ++i) {
      const SurfacePtr& s = surfaces[i];
      if (!s)
        throw Error(ErrorCode::kInvalidArgument,
                    "bind: " + ports[i].name + ": expected a surface, got none");
      check_fits(ports[i], s->layout());
      const bool shared_output = !seen.insert(s.get()).second || also_read.contains(s.get());
      const bool dense = !s->layout().is_packed() || shared_output;
      bindings.push_back({s, dense ? aligned_bytes(ports[i].layout.logical_bytes()) : nullptr});
    }
  }

  // The device's error for a surface that is too small or laid out otherwise (ane_facts E, 0x1d).
  static void check_fits(const Port& port, const TensorLayout& got) {
    const TensorLayout& want = port.layout;
    if (got.dtype() == want.dtype() && got.shape() == want.shape()) return;
    throw Error(ErrorCode::kLayout,
                "bind: " + port.name + ": expected " + std::string(dtype_name(want.dtype())) + " " +
                    to_string(want.shape()) + ", got " + std::string(dtype_name(got.dtype())) +
                    " " + to_string(got.shape()))
        .from_device("com.apple.appleneuralengine", 8, "status=0x1d");
  }

  void fill_table() {
    for (const auto* bindings : {&inputs_, &states_, &outputs_}) {
      for (const Binding& b : *bindings) {
        if (!b.dense) in_place_.push_back(b.surface);
      }
    }
    for (const Slot& slot : plan_->slots) {
      std::byte* p = nullptr;
      switch (slot.kind) {
        case Slot::Kind::kConstant:
          p = const_cast<std::byte*>(slot.constant);
          break;
        case Slot::Kind::kInput:
          p = inputs_[slot.index].memory();
          break;
        case Slot::Kind::kOutput:
          p = outputs_[slot.index].memory();
          break;
        case Slot::Kind::kState:
          p = states_[slot.index].memory();
          break;
        case Slot::Kind::kArena:
          p = arena_.get() + slot.index;
          break;
      }
      table_.push_back(p);
    }
  }

  static void fetch(const std::vector<Binding>& bindings) {
    for (const Binding& b : bindings) {
      if (!b.dense) continue;
      const Surface::Lock lock(*b.surface, false);
      const TensorLayout& layout = b.surface->layout();
      parallel_for(layout.rows(), row_grain(layout), [&](std::int64_t begin, std::int64_t end) {
        copy_rows_to_dense(layout, lock.data(), b.dense.get(), begin, end);
      });
    }
  }

  static void write_back(const std::vector<Binding>& bindings) {
    for (const Binding& b : bindings) {
      if (!b.dense) continue;
      const Surface::Lock lock(*b.surface, true);
      const TensorLayout& layout = b.surface->layout();
      parallel_for(layout.rows(), row_grain(layout), [&](std::int64_t begin, std::int64_t end) {
        copy_rows_from_dense(layout, lock.data(), b.dense.get(), begin, end);
      });
    }
  }

  // Rows that are worth a thread: 256 KiB of the surface take some 4 us.
  static std::int64_t row_grain(const TensorLayout& layout) {
    return static_cast<std::int64_t>((std::size_t{256} << 10) / layout.row_stride() + 1);
  }

  std::shared_ptr<const Plan> plan_;
  std::shared_ptr<std::byte> arena_, scratch_;
  std::vector<Binding> inputs_, outputs_, states_;
  std::vector<SurfacePtr> in_place_;
  std::vector<std::byte*> table_;
};

KernelPtr make_host_kernel(mil::ProgramPtr program, const WeightSet& weights,
                           const CompileOptions& options, std::string* how);

class HostKernel final : public Kernel {
 public:
  HostKernel(mil::ProgramPtr program, CompileOptions options, std::shared_ptr<const Plan> plan)
      : program_(std::move(program)), options_(std::move(options)), plan_(std::move(plan)) {}
  const std::string& function() const override { return plan_->function; }
  const std::vector<Port>& inputs() const override { return plan_->inputs; }
  const std::vector<Port>& outputs() const override { return plan_->outputs; }
  const std::vector<Port>& states() const override { return plan_->states; }
  std::unique_ptr<Request> bind(const std::vector<SurfacePtr>& inputs,
                                const std::vector<SurfacePtr>& outputs,
                                const std::vector<SurfacePtr>& states) override {
    return std::make_unique<HostRequest>(plan_, inputs, outputs, states);
  }
  KernelPtr reload(const WeightSet& weights, std::string* how) override {
    return make_host_kernel(program_, weights, options_, how);
  }

 private:
  mil::ProgramPtr program_;
  CompileOptions options_;
  std::shared_ptr<const Plan> plan_;
};

// `*how` is "cached" when everything was baked before, which is no compile, else "compiled".
KernelPtr make_host_kernel(mil::ProgramPtr program, const WeightSet& weights,
                           const CompileOptions& options, std::string* how) {
  const mil::Function& function = pick_function(*program, options.function);
  Baking baking(*program, function, weights, options);
  if (baking.hit()) {
    try {
      auto plan = make_plan(*program, function, weights, options, baking);
      baking.finish();
      *how = "cached";
      return std::make_shared<HostKernel>(std::move(program), options, std::move(plan));
    } catch (const Baking::Mismatch&) {
      baking.forget();
    } catch (const Error&) {  // then it is no compile that succeeds: say so as every compile does
      baking.forget();
    }
  }
  if (options.compiles) options.compiles->take(options.compile_budget);
  try {
    auto plan = make_plan(*program, function, weights, options, baking);
    baking.finish();
    *how = "compiled";
    return std::make_shared<HostKernel>(std::move(program), options, std::move(plan));
  } catch (Error& e) {
    if (options.compiles) options.compiles->give_back();
    // The device's own domain and class for accepted text that cannot be lowered (its error 1).
    if (e.domain().empty() && e.code() != ErrorCode::kFile && e.code() != ErrorCode::kBlob) {
      e.from_device("com.apple.appleneuralengine.compiler", 1, "CompilationFailure");
    }
    throw e.during("compile");
  }
}

}  // namespace

KernelPtr compile_host_kernel(mil::ProgramPtr program, const WeightSet& weights,
                              const CompileOptions& options) {
  if (options.numerics == Numerics::kBf16 && !cpu_has_bf16()) {
    Error e(
        ErrorCode::kUnsupported,
        "compile: expected a CPU with AVX512-BF16 for numerics \"bf16\", got " +
            std::string(isa_name(cpu_isa())) + " without it",
        "numerics=\"fp16\" runs everywhere; milane.cpu_has_bf16() tells, and MILANE_ISA=v2 or v3 "
        "switches it off");
    throw e.during("compile");
  }
  std::string how;
  return make_host_kernel(std::move(program), weights, options, &how);
}

}  // namespace milane::host
