// The host engine's threads: one pool per process, work claimed in chunks by whoever is free.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

namespace milane::host {

// A borrowed callable: no allocation, valid only during the call it is passed to.
template <class Signature>
class FunctionRef;
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
  FunctionRef(F&& f)
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* o, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(o))(std::forward<Args>(args)...);
        }) {}
  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

// Calls body(begin, end) over [0, n) in chunks of about `grain` items; the caller takes part.
// Returns when all is done. Results never depend on the number of threads. Nested calls, and calls
// while another thread uses the pool, run on the calling thread. The body must not throw.
void parallel_for(std::int64_t n, std::int64_t grain,
                  FunctionRef<void(std::int64_t, std::int64_t)> body);

// Threads that parallel_for may use, the caller included. Default: the CPUs this process may run
// on, or MILANE_NUM_THREADS. set_num_threads(n) throws Error(kInvalidArgument) for n < 1.
int num_threads();
void set_num_threads(int n);

}  // namespace milane::host
