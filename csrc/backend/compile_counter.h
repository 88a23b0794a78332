// How many programs were compiled, and how many may be.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

namespace milane {

// Real compiles so far; what a cache spares is none.
class CompileCounter {
 public:
  std::int64_t count() const { return count_.load(); }
  void reset() { count_ = 0; }
  // One more. Throws kBudget when there are `budget` already.
  void take(const std::optional<std::int64_t>& budget);
  void give_back() { --count_; }

 private:
  std::atomic<std::int64_t> count_{0};
};

}  // namespace milane
