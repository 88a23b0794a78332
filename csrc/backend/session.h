// A kernel in the hands of users: any thread may call anything.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/gate.h"

namespace milane {

class Session;

// A session's kernel with surfaces fixed. Its evaluations queue up; those of different requests run
// at the same time, unless the program has states, which there is one set of.
class BoundRequest {
 public:
  ~BoundRequest();
  BoundRequest(const BoundRequest&) = delete;
  BoundRequest& operator=(const BoundRequest&) = delete;

  // Each throws kClosed after close() of the request or its session.
  void eval();
  void eval_many(std::int64_t times);
  void eval_with(const EvalOptions& options);
  EvalStats eval_with_stats(bool per_op);

  // Lets go of what the device holds for it; idempotent. Waits for an evaluation to end.
  void close();

 private:
  friend class Session;
  struct Core;
  struct Surfaces {
    std::vector<SurfacePtr> inputs, outputs, states;
  };
  BoundRequest(std::shared_ptr<Core> core, Surfaces surfaces);
  template <class Work>
  auto run(Work&& work);
  void build();

  const std::shared_ptr<Core> core_;
  const Surfaces surfaces_;
  std::mutex mutex_;
  std::unique_ptr<Request> request_;
  std::uint64_t generation_ = 0;  // of the kernel that request_ was made from
  bool closed_ = false;
};
using BoundRequestPtr = std::shared_ptr<BoundRequest>;

// A port and the session's own surface for it.
struct BoundPort {
  std::string name;
  SurfacePtr surface;
};

class Session {
 public:
  // `sibling`, when given, runs the same program for other shapes: states of equal layout are one
  // and the same surface, and evaluations of both queue up together where there are states.
  Session(BackendPtr backend, KernelPtr kernel, SurfaceStyle style, const Session* sibling);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const std::string& function() const { return function_; }
  // In the kernel's order; the surfaces stay usable after close().
  const std::vector<BoundPort>& inputs() const { return inputs_; }
  const std::vector<BoundPort>& outputs() const { return outputs_; }
  const std::vector<BoundPort>& states() const { return states_; }

  // The request over the session's own surfaces.
  const BoundRequestPtr& own() const { return own_; }
  // A request over other surfaces, in the kernel's order; an empty list stands for the session's
  // own. Throws what Kernel::bind throws, and kClosed.
  BoundRequestPtr bind(const std::vector<SurfacePtr>& inputs,
                       const std::vector<SurfacePtr>& outputs);
  // A new surface like that of a port.
  SurfacePtr make_surface(const TensorLayout& layout);

  // The same program and surfaces with other weights; in one word, how (Kernel::reload). Waits for
  // evaluations to end. When it throws, the weights are the old ones.
  std::string reload(const WeightSet& weights);
  Diagnostics diagnostics();

  // Holds evaluations of all requests back until unlock(), and waits for those under way: whoever
  // writes what they read does so in between. Throws kClosed. Both in one thread.
  void lock();
  void unlock();

  // Frees the program, its weights and working memory; idempotent. Throws kEval when another thread
  // is evaluating: wait for it first. A device that fails to unload is an error, too, but the
  // session is closed then.
  void close();
  bool closed() const;

 private:
  BackendPtr backend_;
  std::string function_;
  SurfaceStyle style_;
  std::vector<BoundPort> inputs_, outputs_, states_;
  std::shared_ptr<BoundRequest::Core> core_;
  BoundRequestPtr own_;
};

}  // namespace milane
