#include "backend/gate.h"

namespace milane {

bool Gate::enter() {
  std::int64_t state = state_.load(std::memory_order_acquire);
  for (;;) {
    if (state & kClosed) return false;
    if (state & kExclusive) {
      state_.wait(state);
      state = state_.load(std::memory_order_acquire);
    } else if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acquire)) {
      return true;
    }
  }
}

void Gate::leave() {
  const std::int64_t before = state_.fetch_sub(1, std::memory_order_release);
  if (before & kExclusive) state_.notify_all();
}

bool Gate::lock() {
  exclusive_.lock();
  std::int64_t state = state_.fetch_or(kExclusive, std::memory_order_acquire) | kExclusive;
  while (inside(state) > 0) {
    state_.wait(state);
    state = state_.load(std::memory_order_acquire);
  }
  if (!(state & kClosed)) return true;
  unlock();
  return false;
}

void Gate::unlock() {
  state_.fetch_and(~kExclusive, std::memory_order_release);
  state_.notify_all();
  exclusive_.unlock();
}

Gate::Closing Gate::close() {
  std::int64_t state = state_.load(std::memory_order_acquire);
  do {
    if (state & kClosed) return Closing::kAlready;
    if ((state & kExclusive) || inside(state) > 0) return Closing::kBusy;
  } while (!state_.compare_exchange_weak(state, state | kClosed, std::memory_order_acq_rel));
  state_.notify_all();
  return Closing::kDone;
}

}  // namespace milane
