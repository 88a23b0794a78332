#include "backend/session.h"

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

}  // namespace

Session::Session(BackendPtr backend, KernelPtr kernel, SurfaceStyle style, const Session* sibling)
    : backend_(std::move(backend)),
      kernel_(std::move(kernel)),
      function_(kernel_->function()),
      inputs_(make_ports(*backend_, style, kernel_->inputs(), {})),
      outputs_(make_ports(*backend_, style, kernel_->outputs(), {})),
      states_(make_ports(*backend_, style, kernel_->states(),
                         sibling ? sibling->states_ : std::vector<BoundPort>{})),
      request_(bind(*kernel_)),
      mutex_(sibling ? sibling->mutex_ : std::make_shared<std::mutex>()) {}

std::unique_ptr<Request> Session::bind(Kernel& kernel) const {
  return kernel.bind(surfaces(inputs_), surfaces(outputs_), surfaces(states_));
}

std::unique_lock<std::mutex> Session::begin(const char* stage) {
  std::unique_lock lock(*mutex_);
  if (closed()) {
    throw Error(ErrorCode::kClosed,
                std::string(stage) + ": expected an open kernel, got a closed one")
        .during(stage);
  }
  return lock;
}

void Session::eval() {
  const auto lock = begin("eval");
  try {
    request_->eval();
  } catch (Error& e) {
    throw e.during("eval");
  }
}

void Session::eval_with(const EvalOptions& options) {
  const auto lock = begin("eval");
  try {
    request_->eval_with(options);
  } catch (Error& e) {
    throw e.during("eval");
  }
}

EvalStats Session::eval_with_stats(bool per_op) {
  const auto lock = begin("eval");
  try {
    return request_->eval_with_stats(per_op);
  } catch (Error& e) {
    throw e.during("eval");
  }
}

std::string Session::reload(const WeightSet& weights) {
  const auto lock = begin("reload");
  std::string how;
  KernelPtr kernel = kernel_->reload(weights, &how);
  std::unique_ptr<Request> request = bind(*kernel);
  request_ = std::move(request);
  std::swap(kernel_, kernel);
  try {
    kernel->close();
  } catch (const Error&) {  // the new weights are in place; the old program is not worth an error
  }
  return how;
}

Diagnostics Session::diagnostics() {
  const auto lock = begin("diagnostics");
  return kernel_->diagnostics();
}

void Session::close() {
  const std::unique_lock lock(*mutex_, std::try_to_lock);
  if (!lock.owns_lock()) {
    throw Error(ErrorCode::kEval,
                "close: expected an idle kernel, got one that another thread evaluates",
                "wait for the evaluation to return, then close")
        .during("close");
  }
  closed_.store(true, std::memory_order_release);
  request_.reset();
  if (const KernelPtr kernel = std::move(kernel_)) kernel->close();
}

}  // namespace milane
