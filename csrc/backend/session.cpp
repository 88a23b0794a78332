#include "backend/session.h"

#include <set>
#include <utility>

#include "core/error.h"

namespace milane {
namespace {

SurfacePtr find(const std::vector<BoundPort>& ports, const Port& wanted) {
  for (const BoundPort& port : ports) {
    if (port.name == wanted.name && port.surface->layout() == wanted.layout) return port.surface;
  }
  return nullptr;
}

// A surface per port: one of `existing` with the same name and layout, else a new one.
std::vector<BoundPort> make_ports(Backend& backend, SurfaceStyle style,
                                  const std::vector<Port>& ports,
                                  const std::vector<BoundPort>& existing) {
  std::vector<BoundPort> bound;
  bound.reserve(ports.size());
  for (const Port& port : ports) {
    SurfacePtr surface = find(existing, port);
    bound.push_back({port.name, surface ? surface : backend.make_surface(port.layout, style)});
  }
  return bound;
}

std::vector<SurfacePtr> surfaces(const std::vector<BoundPort>& ports) {
  std::vector<SurfacePtr> all;
  all.reserve(ports.size());
  for (const BoundPort& port : ports) all.push_back(port.surface);
  return all;
}

[[noreturn]] void throw_closed(const char* stage, const char* what) {
  throw Error(ErrorCode::kClosed,
              std::string(stage) + ": expected an open " + what + ", got a closed one")
      .during(stage);
}

}  // namespace

// What a session shares with its requests. The kernel is replaced or dropped only while nobody is
// inside the gate.
struct BoundRequest::Core {
  Gate gate;
  KernelPtr kernel;
  std::uint64_t generation = 1;
  std::shared_ptr<std::mutex> states;  // null where the program has none

  std::mutex requests_mutex;  // taken before a request's own
  std::set<BoundRequest*> requests;

  // Requests go before the program they belong to. Nobody is inside the gate.
  void drop_requests() {
    const std::lock_guard lock(requests_mutex);
    for (BoundRequest* request : requests) {
      const std::lock_guard own(request->mutex_);
      request->request_.reset();
    }
  }
};

BoundRequest::BoundRequest(std::shared_ptr<Core> core, Surfaces surfaces)
    : core_(std::move(core)), surfaces_(std::move(surfaces)) {
  build();
  const std::lock_guard lock(core_->requests_mutex);
  core_->requests.insert(this);
}

BoundRequest::~BoundRequest() {
  const std::lock_guard lock(core_->requests_mutex);
  request_.reset();
  core_->requests.erase(this);
}

void BoundRequest::build() {
  request_.reset();  // the device holds one request for these surfaces, not two
  request_ = core_->kernel->bind(surfaces_.inputs, surfaces_.outputs, surfaces_.states);
  generation_ = core_->generation;
}

template <class Work>
auto BoundRequest::run(Work&& work) {
  const Inside inside(core_->gate);
  if (!inside.entered()) throw_closed("eval", "kernel");
  const std::lock_guard lock(mutex_);
  if (closed_) throw_closed("eval", "request");
  try {
    if (generation_ != core_->generation) build();
    if (!core_->states) return work(*request_);
    const std::lock_guard states(*core_->states);
    return work(*request_);
  } catch (Error& e) {
    throw e.during("eval");
  }
}

void BoundRequest::eval() {
  run([](Request& request) { request.eval(); });
}

void BoundRequest::eval_many(std::int64_t times) {
  run([times](Request& request) {
    for (std::int64_t i = 0; i < times; ++i) request.eval();
  });
}

void BoundRequest::eval_with(const EvalOptions& options) {
  run([&](Request& request) { request.eval_with(options); });
}

EvalStats BoundRequest::eval_with_stats(bool per_op) {
  return run([per_op](Request& request) { return request.eval_with_stats(per_op); });
}

void BoundRequest::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  request_.reset();
}

Session::Session(BackendPtr backend, KernelPtr kernel, SurfaceStyle style, const Session* sibling)
    : backend_(std::move(backend)),
      function_(kernel->function()),
      style_(style),
      inputs_(make_ports(*backend_, style, kernel->inputs(), {})),
      outputs_(make_ports(*backend_, style, kernel->outputs(), {})),
      states_(make_ports(*backend_, style, kernel->states(),
                         sibling ? sibling->states_ : std::vector<BoundPort>{})),
      core_(std::make_shared<BoundRequest::Core>()) {
  core_->kernel = std::move(kernel);
  if (!states_.empty()) {
    core_->states = sibling ? sibling->core_->states : std::make_shared<std::mutex>();
  }
  own_.reset(new BoundRequest(core_, {surfaces(inputs_), surfaces(outputs_), surfaces(states_)}));
}

Session::~Session() {
  try {
    close();
  } catch (const Error&) {  // nobody is left to hear it
  }
}

BoundRequestPtr Session::bind(const std::vector<SurfacePtr>& inputs,
                              const std::vector<SurfacePtr>& outputs) {
  const Inside inside(core_->gate);
  if (!inside.entered()) throw_closed("bind", "kernel");
  return BoundRequestPtr(
      new BoundRequest(core_, {inputs.empty() ? surfaces(inputs_) : inputs,
                               outputs.empty() ? surfaces(outputs_) : outputs, surfaces(states_)}));
}

SurfacePtr Session::make_surface(const TensorLayout& layout) {
  return backend_->make_surface(layout, style_);
}

std::string Session::reload(const WeightSet& weights) {
  if (!core_->gate.lock()) throw_closed("reload", "kernel");
  const struct Unlock {
    Gate& gate;
    ~Unlock() { gate.unlock(); }
  } unlock{core_->gate};
  std::string how;
  KernelPtr kernel = core_->kernel->reload(weights, &how);
  core_->drop_requests();
  std::swap(core_->kernel, kernel);
  ++core_->generation;  // every request is made anew at its next evaluation
  try {
    kernel->close();
  } catch (const Error&) {  // the new weights are in place; the old program is not worth an error
  }
  return how;
}

void Session::lock() {
  if (!core_->gate.lock()) throw_closed("eval", "kernel");
}

void Session::unlock() { core_->gate.unlock(); }

Diagnostics Session::diagnostics() {
  const Inside inside(core_->gate);
  if (!inside.entered()) throw_closed("diagnostics", "kernel");
  return core_->kernel->diagnostics();
}

void Session::close() {
  switch (core_->gate.close()) {
    case Gate::Closing::kAlready:
      return;
    case Gate::Closing::kBusy:
      throw Error(ErrorCode::kEval,
                  "close: expected an idle kernel, got one that another thread evaluates",
                  "wait for the evaluation to return, then close")
          .during("close");
    case Gate::Closing::kDone:
      break;
  }
  core_->drop_requests();
  if (const KernelPtr kernel = std::move(core_->kernel)) kernel->close();
}

bool Session::closed() const { return core_->gate.closed(); }

}  // namespace milane
