// Walking an operand that broadcasts to a larger shape, in runs of the output's linear order.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/shape.h"

namespace milane::host {

// Maps linear output positions to operand positions. Axes that can be walked together are merged,
// so a same-shape operand is one run and a scalar is one repeat.
class Broadcast {
 public:
  // Intermediates may exceed the device's five axes; lowering refuses a result with more than this.
  static constexpr int kAxes = 16;

  // `from` broadcasts to `to` by NumPy's rule; ranks may differ.
  Broadcast(const Dims& from, const Dims& to) {
    const std::size_t lead = to.size() - from.size();
    const Dims strides = contiguous_strides(from);
    for (std::size_t i = 0; i < to.size(); ++i) {
      if (to[i] == 1) continue;
      const bool repeats = i < lead || from[i - lead] == 1;
      push(to[i], repeats ? 0 : strides[i - lead]);
    }
    if (rank_ == 0) push(1, 0);
  }

  bool is_scalar() const { return rank_ == 1 && strides_[0] == 0; }
  bool is_same_shape() const { return rank_ == 1 && strides_[0] == 1; }

  // body(at, from, run, repeat): output positions [first + at, first + at + run) come from operand
  // elements [from, from + run), or all from element `from` when `repeat`.
  template <class Body>
  void for_each_run(std::int64_t first, std::int64_t n, Body&& body) const {
    if (rank_ == 1) return body(std::int64_t{0}, first * strides_[0], n, strides_[0] == 0);
    std::array<std::int64_t, kAxes> index{};
    std::int64_t rest = first, base = 0;
    for (int i = rank_; i-- > 0;) {
      index[i] = rest % dims_[i];
      rest /= dims_[i];
      base += index[i] * strides_[i];
    }
    const int inner = rank_ - 1;
    for (std::int64_t at = 0; at < n;) {
      const std::int64_t run = std::min(n - at, dims_[inner] - index[inner]);
      body(at, base, run, strides_[inner] == 0);
      at += run;
      base += run * strides_[inner];
      index[inner] += run;
      for (int i = inner; i > 0 && index[i] == dims_[i]; --i) {
        base += strides_[i - 1] - dims_[i] * strides_[i];
        index[i] = 0;
        ++index[i - 1];
      }
    }
  }

 private:
  void push(std::int64_t dim, std::int64_t stride) {
    if (rank_ > 0 && strides_[rank_ - 1] == stride * dim) {
      dims_[rank_ - 1] *= dim;
      strides_[rank_ - 1] = stride;
      return;
    }
    dims_[rank_] = dim;
    strides_[rank_] = stride;
    ++rank_;
  }

  std::array<std::int64_t, kAxes> dims_{}, strides_{};
  int rank_ = 0;
};

}  // namespace milane::host
