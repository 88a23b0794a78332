// Tensors seen as rows of fp32, whatever their storage: what reductions, norms and softmax share.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "host/kernels/kernels.h"
#include "host/op.h"
#include "host/parallel.h"

namespace milane::host {

// A tensor around one axis, or one run of axes: outer x n x inner.
struct Lines {
  std::int64_t outer = 1, n = 1, inner = 1;
};

// Axes [first, last) form the middle.
inline Lines lines_of(const Dims& dims, std::size_t first, std::size_t last) {
  Lines l;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    (i < first ? l.outer : i < last ? l.n : l.inner) *= dims[i];
  }
  return l;
}
inline Lines lines_along(const Dims& dims, std::int64_t axis) {
  const auto a = static_cast<std::size_t>(axis);
  return lines_of(dims, a, a + 1);
}

// Floats in a stack buffer; long rows are processed a block at a time.
inline constexpr std::int64_t kBlock = 1024;

// n values as fp32: x itself when it is fp32, else `buffer`.
template <class T>
inline const float* load_row(float* buffer, const T* x, std::int64_t n) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    kernels().half_to_float(buffer, x, n);
    return buffer;
  }
}

// Rounds n values into y; nothing to do when they were computed in place.
template <class T>
inline void store_row(T* y, const float* values, std::int64_t n) {
  if constexpr (std::is_same_v<T, float>) {
    if (y != values) std::memcpy(y, values, n * sizeof(float));
  } else {
    kernels().float_to_half(y, values, n);
  }
}

// body(first, length) over [0, n) in blocks of kBlock.
template <class Body>
inline void for_blocks(std::int64_t n, Body&& body) {
  for (std::int64_t i = 0; i < n; i += kBlock) body(i, std::min(kBlock, n - i));
}

// Rows per parallel chunk when each costs about `work` element steps.
inline std::int64_t grain_for_work(std::int64_t work) {
  constexpr std::int64_t kChunkWork = 16384;
  return work >= kChunkWork ? 1 : kChunkWork / std::max<std::int64_t>(work, 1);
}

// Items dealt to a fixed number of parts, so that each part can own a slice of the scratch. The
// number depends on shapes alone.
struct Parts {
  std::int64_t items = 0, count = 0, grain = 1;

  // Items of about `work` element steps each.
  static Parts of(std::int64_t items, std::int64_t most, std::int64_t work) {
    const std::int64_t count = std::max<std::int64_t>(std::min(items, most), 1);
    return {items, count, grain_for_work(work * ((items + count - 1) / count))};
  }
  // body(part, begin, end)
  template <class Body>
  void run(Body&& body) const {
    parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t p = begin; p < end; ++p) {
        body(p, items * p / count, items * (p + 1) / count);
      }
    });
  }
};
// Parts of a step: more than any CPU's threads would waste scratch, fewer would idle them.
inline constexpr std::int64_t kMaxParts = 32;

// Some axes of a tensor, walked in row-major order: position -> element offset.
class AxisWalk {
 public:
  void push(std::int64_t dim, std::int64_t stride) {
    dims_.push_back(dim);
    strides_.push_back(stride);
    count_ *= dim;
  }
  std::int64_t count() const { return count_; }
  std::int64_t offset(std::int64_t position) const {
    if (dims_.size() == 1) return position * strides_[0];
    std::int64_t at = 0;
    for (std::size_t a = dims_.size(); a-- > 0;) {
      at += position % dims_[a] * strides_[a];
      position /= dims_[a];
    }
    return at;
  }

 private:
  Dims dims_, strides_;
  std::int64_t count_ = 1;
};

// A parameter vector as fp32. Constants are converted at planning, others once per run.
class FloatVector {
 public:
  FloatVector() = default;
  // `operand` may be absent; get() then gives nullptr.
  FloatVector(OpSite& site, const Operand& operand) : operand_(operand) {
    if (!operand.present() || operand.dtype == DType::kFp32) return;
    if (operand.is_constant()) {
      auto values = std::make_shared<std::vector<float>>(static_cast<std::size_t>(operand.count()));
      convert_half_to_float(values->data(), reinterpret_cast<const Half*>(operand.constant),
                            values->size());
      constant_ = std::move(values);
    } else {
      scratch_ = site.scratch(static_cast<std::size_t>(operand.count()) * sizeof(float));
    }
  }
  bool present() const { return operand_.present(); }
  std::int64_t count() const { return operand_.count(); }
  // Call once per run, before the parallel part.
  const float* get(const Exec& e) const {
    if (!present()) return nullptr;
    if (operand_.dtype == DType::kFp32) return e.in<float>(operand_);
    if (constant_ != nullptr) return constant_->data();
    float* values = e.scratch<float>(scratch_);
    kernels().half_to_float(values, e.in<Half>(operand_), operand_.count());
    return values;
  }

 private:
  Operand operand_;
  Scratch scratch_;
  std::shared_ptr<const std::vector<float>> constant_;
};

}  // namespace milane::host
