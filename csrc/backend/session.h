// A kernel with surfaces of its own: what users hold. Any thread may call anything.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace milane {

// A port and the session's own surface for it.
struct BoundPort {
  std::string name;
  SurfacePtr surface;
};

class Session {
 public:
  // `sibling`, when given, runs the same program for other shapes: states of equal layout are one
  // and the same surface, and evaluations of both queue up together.
  Session(BackendPtr backend, KernelPtr kernel, SurfaceStyle style, const Session* sibling);

  const std::string& function() const { return function_; }
  // In the kernel's order; the surfaces stay usable after close().
  const std::vector<BoundPort>& inputs() const { return inputs_; }
  const std::vector<BoundPort>& outputs() const { return outputs_; }
  const std::vector<BoundPort>& states() const { return states_; }

  // Evaluations of one session queue up. Throws kClosed after close().
  void eval();
  void eval_with(const EvalOptions& options);
  EvalStats eval_with_stats(bool per_op);

  // The same program and surfaces with other weights; in one word, how (Kernel::reload). When it
  // throws, the weights are the old ones.
  std::string reload(const WeightSet& weights);
  Diagnostics diagnostics();

  // Frees the program, its weights and working memory; idempotent. Throws kEval when another thread
  // is evaluating: wait for it first. A device that fails to unload is an error, too, but the
  // session is closed then.
  void close();
  bool closed() const { return closed_.load(std::memory_order_acquire); }

 private:
  std::unique_lock<std::mutex> begin(const char* stage);
  std::unique_ptr<Request> bind(Kernel& kernel) const;

  BackendPtr backend_;
  KernelPtr kernel_;
  std::string function_;
  std::vector<BoundPort> inputs_, outputs_, states_;
  std::unique_ptr<Request> request_;
  std::shared_ptr<std::mutex> mutex_;
  std::atomic<bool> closed_{false};
};

}  // namespace milane
