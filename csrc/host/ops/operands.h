// Operands of the matrix-like operations: what dtype they may have, and small ones as floats.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "host/gemm.h"
#include "host/op.h"

namespace milane::host {

inline bool is_storage_float(DType t) { return t == DType::kFp16 || t == DType::kFp32; }

// Error(kUnsupportedOp) unless every present operand is stored as fp16 or fp32.
inline void require_float(const OpSite& site, std::initializer_list<Operand> operands) {
  for (const Operand& o : operands) {
    if (!o.present() || is_storage_float(o.dtype)) continue;
    throw Error(ErrorCode::kUnsupportedOp,
                std::string(site.args.schema().name) +
                    ": expected fp16 or fp32 operands on the host, got " +
                    std::string(dtype_name(o.dtype)));
  }
}

// dst[count] <- src[count]
inline void to_floats(float* dst, DType dtype, const void* src, std::int64_t count) {
  if (dtype == DType::kFp16) {
    convert_half_to_float(dst, static_cast<const Half*>(src), static_cast<std::size_t>(count));
  } else {
    std::copy_n(static_cast<const float*>(src), count, dst);
  }
}

inline void from_floats(DType dtype, void* dst, const float* src, std::int64_t count) {
  if (dtype == DType::kFp16) {
    convert_float_to_half(static_cast<Half*>(dst), src, static_cast<std::size_t>(count));
  } else {
    std::copy_n(src, count, static_cast<float*>(dst));
  }
}

// A small operand (bias, taps of a depthwise kernel) as floats: converted when planned if it is
// constant, else at every run.
class FloatValues {
 public:
  FloatValues() = default;
  FloatValues(OpSite& site, const Operand& o) : operand_(o) {
    if (!o.present()) return;
    if (o.is_constant()) {
      auto values = std::make_shared<std::vector<float>>(static_cast<std::size_t>(o.count()));
      to_floats(values->data(), o.dtype, o.constant, o.count());
      constant_ = std::move(values);
    } else if (o.dtype == DType::kFp16) {
      scratch_ = site.scratch(static_cast<std::size_t>(o.count()) * sizeof(float));
    }
  }
  // nullptr when the operand is absent.
  const float* get(const Exec& e) const {
    if (!operand_.present()) return nullptr;
    if (constant_) return constant_->data();
    if (operand_.dtype == DType::kFp32) return e.in<float>(operand_);
    float* const values = e.scratch<float>(scratch_);
    to_floats(values, operand_.dtype, e.in<Half>(operand_), operand_.count());
    return values;
  }

 private:
  Operand operand_;
  std::shared_ptr<const std::vector<float>> constant_;
  Scratch scratch_;
};

}  // namespace milane::host
