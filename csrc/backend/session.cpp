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
std::vector<BoundPort> make_ports(Backend& backend, const std::vector<Port>& ports,
                                  const std::vector<BoundPort>& existing) {
  std::vector<BoundPort> bound;
  bound.reserve(ports.size());
  for (const Port& port : ports) {
    SurfacePtr surface = find(existing, port);
    bound.push_back({port.name, surface ? surface : backend.make_surface(port.layout)});
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

Session::Session(BackendPtr backend, KernelPtr kernel, const Session* sibling)
    : backend_(std::move(backend)),
      kernel_(std::move(kernel)),
      function_(kernel_->function()),
      inputs_(make_ports(*backend_, kernel_->inputs(), {})),
      outputs_(make_ports(*backend_, kernel_->outputs(), {})),
      states_(make_ports(*backend_, kernel_->states(),
                         sibling ? sibling->states_ : std::vector<BoundPort>{})),
      request_(kernel_->bind(surfaces(inputs_), surfaces(outputs_), surfaces(states_))),
      mutex_(sibling ? sibling->mutex_ : std::make_shared<std::mutex>()) {}

std::unique_lock<std::mutex> Session::begin() {
  std::unique_lock lock(*mutex_);
  if (closed()) {
    throw Error(ErrorCode::kClosed, "eval: expected an open kernel, got a closed one")
        .during("eval");
  }
  return lock;
}

void Session::eval() {
  const auto lock = begin();
  try {
    request_->eval();
  } catch (Error& e) {
    throw e.during("eval");
  }
}

EvalStats Session::eval_with_stats(bool per_op) {
  const auto lock = begin();
  try {
    return request_->eval_with_stats(per_op);
  } catch (Error& e) {
    throw e.during("eval");
  }
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
  kernel_.reset();
}

}  // namespace milane
