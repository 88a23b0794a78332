// What an op function gets and gives. Planning calls it once, with shapes and constants known;
// it returns what every evaluation runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/half.h"
#include "core/shape.h"
#include "host/following.h"
#include "mil/infer.h"

namespace milane::host {

using ValueId = std::int32_t;
class Baking;

// A dense, row-major tensor of the plan. In numerics "fp32" every fp16 tensor is stored as fp32,
// so op functions look at `dtype` here and never at the program's declared type.
struct Operand {
  ValueId id = -1;
  DType dtype = DType::kFp16;
  Dims dims;
  // Its bytes, when known at planning. 64-byte aligned, but large weights in the caller's memory
  // may be aligned to 16.
  const std::byte* constant = nullptr;

  bool present() const { return id >= 0; }
  bool is_constant() const { return constant != nullptr; }
  std::int64_t count() const { return element_count(dims); }
  std::size_t bytes() const { return packed_bytes(dtype, count()); }
};

// Working memory of one step, inside the arena; contents are undefined at the start of each run.
struct Scratch {
  std::size_t offset = 0;
  std::size_t bytes = 0;
};

// One evaluation: where every value lives. Cheap to pass, never allocates.
class Exec {
 public:
  Exec(std::byte* const* values, std::byte* scratch) : values_(values), scratch_(scratch) {}
  template <class T>
  const T* in(const Operand& o) const {
    return reinterpret_cast<const T*>(values_[o.id]);
  }
  template <class T>
  T* out(const Operand& o) const {
    return reinterpret_cast<T*>(values_[o.id]);
  }
  template <class T>
  T* scratch(Scratch s) const {
    return reinterpret_cast<T*>(scratch_ + s.offset);
  }

 private:
  std::byte* const* values_;  // by ValueId; constants included; aligned as Operand::constant says
  std::byte* scratch_;
};

using RunFn = std::function<void(const Exec&)>;

// Planning-time view of one operation.
class OpSite {
 public:
  OpSite(const mil::OpArgs& arguments,
         std::vector<std::pair<std::string_view, std::vector<Operand>>> ins,
         std::vector<Operand> outs, Baking* baking = nullptr, bool bf16_products = false)
      : args(arguments),
        inputs_(std::move(ins)),
        outputs_(std::move(outs)),
        baking_(baking),
        bf16_products_(bf16_products) {}

  const mil::OpArgs&
      args;  // constants, axes, strings: args.integer("axis"), args.boolean("keep_dims")

  bool has(std::string_view name) const { return !find(name).empty(); }
  // The operand of an argument; one with id -1 when the argument is absent.
  Operand in(std::string_view name) const {
    const auto& operands = find(name);
    return operands.empty() ? Operand{} : operands.front();
  }
  // All operands of a tuple argument (concat's `values`).
  const std::vector<Operand>& list(std::string_view name) const { return find(name); }
  const Operand& out(std::size_t i = 0) const { return outputs_.at(i); }
  std::size_t outputs() const { return outputs_.size(); }

  // Reserves working memory for the run; 64-byte aligned.
  Scratch scratch(std::size_t bytes) {
    const Scratch s{scratch_bytes_, bytes};
    scratch_bytes_ += (bytes + 63) / 64 * 64;
    return s;
  }
  std::size_t scratch_bytes() const { return scratch_bytes_; }
  // Elementwise operations that the step shall do on its one result: asking for them promises that
  // the step looks here at every run. Patterns fill them in.
  std::shared_ptr<const Following> following() {
    if (!following_) following_ = std::make_shared<Following>();
    return following_;
  }
  // Null where the step never asked.
  const std::shared_ptr<Following>& promised() const { return following_; }
  // What keeps packed constants for later compiles; null where nothing does (baking.h).
  Baking* baking() const { return baking_; }
  // numerics "bf16": products of fp16 operands with constant weights are those of gemm_bf16.h.
  bool bf16_products() const { return bf16_products_; }

 private:
  const std::vector<Operand>& find(std::string_view name) const {
    static const std::vector<Operand> kNone;
    for (const auto& [key, operands] : inputs_) {
      if (key == name) return operands;
    }
    return kNone;
  }

  std::vector<std::pair<std::string_view, std::vector<Operand>>> inputs_;
  std::vector<Operand> outputs_;
  Baking* baking_;
  bool bf16_products_;
  std::shared_ptr<Following> following_;
  std::size_t scratch_bytes_ = 0;
};

// Every op function has this shape and is named op_<op>; ops.def declares them all.
using OpFn = RunFn (*)(OpSite&);

// Picks body<T> by storage type: dispatch_float(dtype, [&]<class T>() { ... }) with T = Half or
// float.
template <class Body>
auto dispatch_float(DType dtype, Body&& body) {
  return dtype == DType::kFp16 ? body.template operator()<Half>()
                               : body.template operator()<float>();
}

inline float load(Half h) { return half_to_float(h); }
inline float load(float f) { return f; }
inline void store(Half& dst, float v) { dst = float_to_half(v); }
inline void store(float& dst, float v) { dst = v; }

}  // namespace milane::host
