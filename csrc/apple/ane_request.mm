// Evaluations: standard, direct, real-time, with a completion handler, with shared events.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>

#include "apple/ane_kernel.h"
#include "apple/framework_call.h"
#include "apple/iosurface.h"
#include "apple/shared_event.h"

namespace milane::apple {
namespace {

constexpr std::size_t kMaxSurfaces = 128;  // ane_facts A.6
constexpr long long kSignalEventType = 5;  // ane_facts A.8

std::int64_t now_ns() {
  using namespace std::chrono;
  return duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
}

// What a completion handler leaves behind; the handler may outlive whoever waits.
struct Completion {
  std::mutex mutex;
  std::condition_variable done;
  bool finished = false;
  bool succeeded = false;
  std::optional<Error> error;
};

class AneRequest final : public Request {
 public:
  AneRequest(std::shared_ptr<AneKernel> kernel, const std::vector<SurfacePtr>& inputs,
             const std::vector<SurfacePtr>& outputs)
      : kernel_(std::move(kernel)), inputs_(inputs), outputs_(outputs) {
    check_surfaces(kernel_->inputs(), inputs_);
    check_surfaces(kernel_->outputs(), outputs_);
    check_aliases();
    objc("request", [&] { build(); });
  }
  ~AneRequest() override {
    try {
      objc("request", [&] { release(); });
    } catch (const Error&) {  // nobody is left to hear it
    }
  }

  void eval() override {
    objc("eval", [&] { evaluate(EvalPath::kStandard, no_options_.get()); });
  }

  void eval_with(const EvalOptions& options) override {
    objc("eval", [&] {
      if (!options.wait.empty() || !options.signal.empty()) {
        evaluate_with_events(options);
      } else if (options.timeout_ns >= 0) {
        evaluate_with_completion(options);
      } else {
        evaluate(options.path, no_options_.get());
      }
    });
  }

  EvalStats eval_with_stats(bool) override {
    EvalStats stats;
    const std::int64_t start = now_ns();
    eval();
    stats.wall_ns = now_ns() - start;
    // Third-party processes read zero: that is no time, it is no answer (ane_facts A.7).
    const std::uint64_t ns = objc("eval", [&] {
      return stats_ ? std::uint64_t{[stats_.get() hwExecutionTime]} : std::uint64_t{0};
    });
    if (ns != 0) stats.hw_execution_ns = static_cast<std::int64_t>(ns);
    return stats;
  }

 private:
  static void check_surfaces(const std::vector<Port>& ports,
                             const std::vector<SurfacePtr>& surfaces) {
    if (ports.size() != surfaces.size()) {
      throw Error(ErrorCode::kInvalidArgument, "bind: expected " + std::to_string(ports.size()) +
                                                   " surfaces, got " +
                                                   std::to_string(surfaces.size()));
    }
    for (std::size_t i = 0; i < ports.size(); ++i) {
      const auto* surface = dynamic_cast<const AneSurface*>(surfaces[i].get());
      if (!surface) {
        throw Error(ErrorCode::kInvalidArgument,
                    "bind: " + ports[i].name + ": expected an IOSurface, got " +
                        (surfaces[i] ? "other memory" : "none"),
                    "make it with Runtime or Kernel of the same backend");
      }
      if (surface->layout() == ports[i].layout) continue;
      const TensorLayout &want = ports[i].layout, &got = surface->layout();
      throw Error(ErrorCode::kLayout,
                  "bind: " + ports[i].name + ": expected " + std::string(dtype_name(want.dtype())) +
                      " " + to_string(want.shape()) + " with strides " + to_string(want.strides()) +
                      ", got " + std::string(dtype_name(got.dtype())) + " " +
                      to_string(got.shape()) + " with strides " + to_string(got.strides()),
                  "make the surface from the kernel's own layout")
          .from_device("com.apple.appleneuralengine", 8, "status=0x1d");
    }
  }

  // One surface as two outputs would leave it to chance which of them stays.
  void check_aliases() const {
    if (inputs_.size() + outputs_.size() > kMaxSurfaces) {
      throw Error(ErrorCode::kInvalidArgument,
                  "bind: expected at most 128 surfaces, got " +
                      std::to_string(inputs_.size() + outputs_.size()),
                  "join inputs with concat, or split the program");
    }
    std::set<const Surface*> seen;
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      if (seen.insert(outputs_[i].get()).second) continue;
      throw Error(ErrorCode::kInvalidArgument, "bind: " + kernel_->outputs()[i].name +
                                                   ": expected a surface of its own, got that of "
                                                   "another output");
    }
  }

  // The surfaces and their symbol indices, in the order of the symbols.
  struct Side {
    NSMutableArray *objects, *indices;
  };
  Side side(const std::vector<DevicePort>& ports, const std::vector<SurfacePtr>& surfaces) {
    std::vector<std::size_t> order(ports.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return ports[a].symbol < ports[b].symbol; });
    Side made{[NSMutableArray array], [NSMutableArray array]};
    for (const std::size_t i : order) {
      const auto& surface = static_cast<const AneSurface&>(*surfaces[i]);
      id object = [kernel_->source().framework.surface objectWithIOSurface:surface.get()];
      if (!object) throw nil_error("request", "an object for the surface of " + ports[i].port.name);
      [made.objects addObject:object];
      [made.indices addObject:@(ports[i].symbol)];
    }
    return made;
  }

  // A request of the longest form there is, for the events where some are given.
  id make_request(id events) {
    const Framework& framework = kernel_->source().framework;
    const Side in = side(kernel_->ports().inputs, inputs_);
    const Side out = side(kernel_->ports().outputs, outputs_);
    NSNumber* procedure = @(kernel_->ports().procedure);
    id request = nil;
    if (answers((id)framework.request,
                @selector(requestWithInputs:
                               inputIndices:outputs:outputIndices:weightsBuffer:perfStats
                                           :procedureIndex:sharedEvents:transactionHandle:))) {
      request = [framework.request requestWithInputs:in.objects
                                        inputIndices:in.indices
                                             outputs:out.objects
                                       outputIndices:out.indices
                                       weightsBuffer:nil
                                           perfStats:stats_.get()
                                      procedureIndex:procedure
                                        sharedEvents:events
                                   transactionHandle:@1];
    } else if (events) {
      throw_missing("_ANERequest",
                    "requestWithInputs:inputIndices:outputs:outputIndices:weightsBuffer:perfStats:"
                    "procedureIndex:sharedEvents:transactionHandle:");
    } else {
      request = [framework.request requestWithInputs:in.objects
                                        inputIndices:in.indices
                                             outputs:out.objects
                                       outputIndices:out.indices
                                       weightsBuffer:nil
                                           perfStats:stats_.get()
                                      procedureIndex:procedure];
    }
    if (!request) throw nil_error("request", "a request");
    if (answers(request, @selector(validate)) && ![request validate]) {
      throw Error(
          ErrorCode::kEval, "request: expected the framework to validate it, got NO",
          "surfaces and symbols are the loaded program's own: `milane doctor` compares this "
          "system with the known ones")
          .from_device("com.apple.appleneuralengine", 0)
          .during("request");
    }
    return request;
  }

  void build() {
    no_options_ = Own<NSDictionary*>::keep(@{});
    const Class<ANEPerformanceStats> cls = kernel_->source().framework.stats;
    if (kernel_->source().options.perf_stats_mask != 0 &&
        answers((id)cls, @selector(statsWithHardwareExecutionNS:))) {
      stats_ = Own<id<ANEPerformanceStats>>::keep([cls statsWithHardwareExecutionNS:0]);
    }
    request_ = Own<id<ANERequest>>::keep(make_request(nil));
    mapped_ = kernel_->model().map(request_.get());
  }

  // What fails here has nobody to hear it, and must not keep the rest from being released.
  void release() {
    const auto quietly = [](auto&& call) {
      try {
        objc("request", call);
      } catch (const Error&) {
      }
    };
    if (mapped_) quietly([&] { kernel_->model().unmap(request_.get()); });
    mapped_ = false;
    quietly([&] { request_.reset(); });
    quietly([&] {
      stats_.reset();
      no_options_.reset();
    });
  }

  void evaluate(EvalPath path, NSDictionary* options) { evaluate(request_.get(), path, options); }

  void evaluate(id request, EvalPath path, NSDictionary* options) {
    LoadedModel& model = kernel_->model();
    RealtimeState& realtime = *kernel_->source().realtime;
    if (path == EvalPath::kStandard && realtime.depth > 0) path = EvalPath::kRealtime;
    switch (path) {
      case EvalPath::kStandard:
        return model.evaluate(request, options);
      case EvalPath::kDirect:
        return model.evaluate_direct(request, options);
      case EvalPath::kRealtime:
        break;
    }
    // A refused begin does not always close the path; where it does, the standard one remains
    // (ane_facts A.11).
    try {
      model.evaluate_realtime(request, options);
    } catch (const Error& e) {
      if (realtime.granted && e.code() != ErrorCode::kSelector) throw;
      model.evaluate(request, options);
    }
  }

  void evaluate_with_completion(const EvalOptions& options) {
    if (!answers(request_.get(), @selector(setCompletionHandler:))) {
      throw_missing("_ANERequest", "setCompletionHandler:");
    }
    auto completion = std::make_shared<Completion>();
    [request_.get() setCompletionHandler:^(BOOL succeeded, NSError* error) {
      const std::lock_guard lock(completion->mutex);
      completion->succeeded = succeeded;
      if (!succeeded) completion->error = error_of("eval", error);
      completion->finished = true;
      completion->done.notify_all();
    }];
    try {
      evaluate(options.path, no_options_.get());
    } catch (...) {
      [request_.get() setCompletionHandler:nil];
      throw;
    }
    std::unique_lock lock(completion->mutex);
    const bool in_time = completion->done.wait_for(
        lock, std::chrono::nanoseconds(options.timeout_ns), [&] { return completion->finished; });
    if (!in_time) {
      lock.unlock();
      abandon();
      throw Error(ErrorCode::kEval,
                  "eval: expected the evaluation to complete within " +
                      std::to_string(options.timeout_ns / 1'000'000) + " ms, got no completion",
                  "the device may still write the outputs; evaluate again when it is idle")
          .from_device("com.apple.appleneuralengine", 0, "Timeout")
          .during("eval");
    }
    [request_.get() setCompletionHandler:nil];
    if (completion->error) throw *completion->error;
  }

  // Leaves the request to the framework, which still holds it, and goes on with a new one.
  void abandon() {
    release();
    build();
  }

  void evaluate_with_events(const EvalOptions& options) {
    if (!kernel_->model().takes_events()) {
      throw Error(ErrorCode::kUnsupported,
                  "eval: expected a package-backed kernel for shared events, got an in-memory one",
                  "compile with route=\"client\", or from a .mlmodelc package");
    }
    NSDictionary* device_options = @{
      framework_constant("kANEFDisableIOFencesUseSharedEventsKey") : @(options.disable_io_fences),
      framework_constant("kANEFEnableFWToFWSignal") : @(options.enable_fw_to_fw_signal)
    };
    // Reusing such a request has been seen to kill the process (ane_facts A.9): one per evaluation.
    const Own<id> request = Own<id>::keep(make_request(make_events(options)));
    const bool mapped = kernel_->model().map(request.get());
    kernel_->never_unload();
    try {
      evaluate(request.get(), options.path, device_options);
    } catch (...) {
      if (mapped) kernel_->model().unmap(request.get());
      throw;
    }
    if (mapped) kernel_->model().unmap(request.get());
  }

  id make_events(const EvalOptions& options) {
    const Framework& framework = kernel_->source().framework;
    if (!framework.signal_event) throw_missing("_ANESharedSignalEvent", "");
    if (!framework.wait_event) throw_missing("_ANESharedWaitEvent", "");
    if (!framework.events) throw_missing("_ANESharedEvents", "");
    NSMutableArray *signals = [NSMutableArray array], *waits = [NSMutableArray array];
    for (const EventPoint& point : options.signal) {
      // The output that is written last is not known: the first symbol, as everyone passes.
      id event = [framework.signal_event signalEventWithValue:point.value
                                                  symbolIndex:kernel_->ports().outputs[0].symbol
                                                    eventType:kSignalEventType
                                                  sharedEvent:native(point)];
      if (!event) throw nil_error("eval", "a signal event");
      [signals addObject:event];
    }
    for (const EventPoint& point : options.wait) {
      id event = [framework.wait_event waitEventWithValue:point.value sharedEvent:native(point)];
      if (!event) throw nil_error("eval", "a wait event");
      [waits addObject:event];
    }
    id events = [framework.events sharedEventsWithSignalEvents:signals waitEvents:waits];
    if (!events) throw nil_error("eval", "shared events");
    return events;
  }

  static id native(const EventPoint& point) {
    const auto* event = dynamic_cast<const AneEvent*>(point.event.get());
    if (event) return event->get();
    throw Error(ErrorCode::kInvalidArgument,
                "eval: expected a shared event of the device, got one of the host",
                "make it with milane.SharedEvent() on the same machine");
  }

  std::shared_ptr<AneKernel> kernel_;
  std::vector<SurfacePtr> inputs_, outputs_;
  Own<id<ANEPerformanceStats>> stats_;
  Own<NSDictionary*> no_options_;  // once: making one takes longer than the way to the framework
  Own<id<ANERequest>> request_;
  bool mapped_ = false;
};

}  // namespace

std::unique_ptr<Request> make_ane_request(std::shared_ptr<AneKernel> kernel,
                                          const std::vector<SurfacePtr>& inputs,
                                          const std::vector<SurfacePtr>& outputs) {
  return std::make_unique<AneRequest>(std::move(kernel), inputs, outputs);
}

}  // namespace milane::apple
