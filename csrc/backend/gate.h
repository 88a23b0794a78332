// Who may use a kernel now: many evaluations at a time, or one that replaces or closes it.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

namespace milane {

// Entering and leaving take one atomic operation each. A replacement waits for those inside and
// holds back those that come; a close never waits.
class Gate {
 public:
  // False when it is closed.
  bool enter();
  void leave();

  // Waits until nobody is inside. False, and not locked, when it is closed.
  bool lock();
  void unlock();

  enum class Closing : std::uint8_t { kDone, kAlready, kBusy };
  // Closes for good, unless somebody is inside.
  Closing close();
  bool closed() const { return (state_.load(std::memory_order_acquire) & kClosed) != 0; }

 private:
  static constexpr std::int64_t kExclusive = std::int64_t{1} << 40;
  static constexpr std::int64_t kClosed = std::int64_t{1} << 41;
  static std::int64_t inside(std::int64_t state) { return state & (kExclusive - 1); }

  std::atomic<std::int64_t> state_{0};  // how many are inside, and the two flags
  std::mutex exclusive_;
};

// Inside a gate for as long as it lives. `entered` is false when the gate was closed.
class Inside {
 public:
  explicit Inside(Gate& gate) : gate_(gate), entered_(gate.enter()) {}
  ~Inside() {
    if (entered_) gate_.leave();
  }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

  bool entered() const { return entered_; }

 private:
  Gate& gate_;
  bool entered_;
};

}  // namespace milane
