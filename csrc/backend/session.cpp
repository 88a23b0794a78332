#include "backend/session.h"

#include "core/error.h"

namespace milane {
namespace {

std::vector<SurfacePtr> make_surfaces(Backend& backend, const std::vector<Port>& ports) {
  std::vector<SurfacePtr> surfaces;
  surfaces.reserve(ports.size());
  for (const Port& port : ports) surfaces.push_back(backend.make_surface(port.layout));
  return surfaces;
}

}  // namespace

Session::Session(BackendPtr backend, KernelPtr kernel)
    : backend_(std::move(backend)),
      kernel_(std::move(kernel)),
      inputs_(make_surfaces(*backend_, kernel_->inputs())),
      outputs_(make_surfaces(*backend_, kernel_->outputs())),
      states_(make_surfaces(*backend_, kernel_->states())),
      request_(kernel_->bind(inputs_, outputs_, states_)) {}

std::unique_lock<std::mutex> Session::begin() {
  std::unique_lock lock(mutex_);
  if (closed()) {
    throw Error(ErrorCode::kClosed, "eval: expected an open kernel, got a closed one")
        .during("eval");
  }
  return lock;
}

void Session::eval() {
  const auto lock = begin();
  request_->eval();
}

EvalStats Session::eval_with_stats(bool per_op) {
  const auto lock = begin();
  return request_->eval_with_stats(per_op);
}

void Session::close() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) {
    throw Error(ErrorCode::kEval,
                "close: expected an idle kernel, got one that another thread evaluates",
                "wait for the evaluation to return, then close")
        .during("close");
  }
  closed_.store(true, std::memory_order_release);
  request_.reset();
}

}  // namespace milane
