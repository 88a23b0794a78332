#include "mil/align.h"

#include <algorithm>

namespace milane::mil {
namespace {

// Myers, "An O(ND) difference algorithm and its variations" (1986), greedy form, after common ends
// are cut off. Equal keys are paired; programs that share too little are left unpaired in between.
class Alignment {
 public:
  Alignment(const std::vector<int>& a, const std::vector<int>& b) : a_(a), b_(b) {}

  Pairs pairs() {
    int head = 0;
    int na = static_cast<int>(a_.size());
    int nb = static_cast<int>(b_.size());
    Pairs result;
    while (head < na && head < nb && at(a_, head) == at(b_, head)) {
      result.emplace_back(head, head);
      ++head;
    }
    Pairs tail;
    while (na > head && nb > head && at(a_, na - 1) == at(b_, nb - 1)) {
      tail.emplace_back(--na, --nb);
    }
    middle(head, na, nb, result);
    result.insert(result.end(), tail.rbegin(), tail.rend());
    return result;
  }

 private:
  // The trace takes the square of this many integers.
  static constexpr int kMostEdits = 2048;
  static int at(const std::vector<int>& v, int i) { return v[static_cast<std::size_t>(i)]; }

  void middle(int head, int a_end, int b_end, Pairs& result) const {
    const int n = a_end - head;
    const int m = b_end - head;
    if (n == 0 || m == 0) return;
    const int most = std::min(n + m, kMostEdits);
    // reach[k + d]: how far along `a` d edits lead on diagonal k = x - y.
    std::vector<std::vector<int>> trace;
    std::vector<int> reach(static_cast<std::size_t>(2 * most + 3), 0);
    const auto far = [&](int k) -> int& { return reach[static_cast<std::size_t>(k + most + 1)]; };
    for (int d = 0; d <= most; ++d) {
      trace.emplace_back(reach.begin() + (most + 1 - d), reach.begin() + (most + 2 + d));
      for (int k = -d; k <= d; k += 2) {
        int x = k == -d || (k != d && far(k - 1) < far(k + 1)) ? far(k + 1) : far(k - 1) + 1;
        while (x < n && x - k < m && at(a_, head + x) == at(b_, head + x - k)) ++x;
        far(k) = x;
        if (x >= n && x - k >= m) {
          walk_back(trace, head, n, m, result);
          return;
        }
      }
    }
  }

  // trace[d] holds the reach before step d, of diagonals -d..d.
  static void walk_back(const std::vector<std::vector<int>>& trace, int head, int x, int y,
                        Pairs& result) {
    Pairs reversed;
    for (int d = static_cast<int>(trace.size()) - 1; d >= 0; --d) {
      const auto& before = trace[static_cast<std::size_t>(d)];
      const auto far = [&](int k) { return before[static_cast<std::size_t>(k + d)]; };
      const int k = x - y;
      int from_x = 0;
      int from_y = 0;
      if (d > 0) {
        const bool down = k == -d || (k != d && far(k - 1) < far(k + 1));
        const int from_k = down ? k + 1 : k - 1;
        from_x = far(from_k);
        from_y = from_x - from_k;
      }
      while (x > from_x && y > from_y) reversed.emplace_back(head + --x, head + --y);
      x = from_x;
      y = from_y;
    }
    result.insert(result.end(), reversed.rbegin(), reversed.rend());
  }

  const std::vector<int>& a_;
  const std::vector<int>& b_;
};

}  // namespace

Pairs align(const std::vector<int>& a, const std::vector<int>& b) {
  return Alignment(a, b).pairs();
}

}  // namespace milane::mil
