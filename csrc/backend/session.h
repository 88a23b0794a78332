// A kernel with surfaces of its own: what users hold. Any thread may call anything.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "backend/backend.h"

namespace milane {

class Session {
 public:
  Session(BackendPtr backend, KernelPtr kernel);

  const Kernel& kernel() const { return *kernel_; }
  // Own surfaces, in the kernel's order; usable by views even after close().
  const std::vector<SurfacePtr>& inputs() const { return inputs_; }
  const std::vector<SurfacePtr>& outputs() const { return outputs_; }
  const std::vector<SurfacePtr>& states() const { return states_; }

  // Evaluations of one session queue up. Throws kClosed after close().
  void eval();
  EvalStats eval_with_stats(bool per_op);

  // Idempotent. Throws kEval when another thread is evaluating: wait for it first.
  void close();
  bool closed() const { return closed_.load(std::memory_order_acquire); }

 private:
  std::unique_lock<std::mutex> begin();

  BackendPtr backend_;
  KernelPtr kernel_;
  std::vector<SurfacePtr> inputs_, outputs_, states_;
  std::unique_ptr<Request> request_;
  std::mutex mutex_;
  std::atomic<bool> closed_{false};
};

}  // namespace milane
