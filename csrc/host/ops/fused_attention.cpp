// Scores transposed, keys down and queries across: softmax runs down columns, one query a lane, and
// its weights feed the second product as they lie.
#include "host/ops/fused_attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "core/integers.h"
#include "host/ops/operands.h"

namespace milane::host {
namespace {

// A mask that lies this far below the best of its row leaves no weight if the scores allow it.
constexpr float kGap = 20000;

std::int64_t offset_of(std::int64_t index, const Dims& dims, const Dims& strides) {
  std::int64_t at = 0;
  for (std::size_t axis = dims.size(); axis-- > 0; index /= dims[axis])
    at += index % dims[axis] * strides[axis];
  return at;
}

const std::byte* element(const Exec& e, const Operand& o, std::int64_t i) {
  return e.in<std::byte>(o) + i * static_cast<std::int64_t>(dtype_size(o.dtype));
}

void fill_panel(DType dtype, float* panel, std::int64_t pitch, const std::byte* src,
                std::int64_t inner, std::int64_t outer, std::int64_t count, std::int64_t depth) {
  if (count < pitch) std::memset(panel, 0, static_cast<std::size_t>(depth * pitch) * sizeof(float));
  pack_tile(dtype, panel, pitch, src, inner, outer, count, depth);
}

// The working memory of one thread, and what it does with it.
class Task {
 public:
  Task(const FusedAttention& attention, const Exec& exec, std::byte* memory)
      : a_(attention), e_(exec), nr_(kernels().nr), tile_(kPanel * nr_) {
    float* next = reinterpret_cast<float*>(memory);
    const auto take = [&](std::int64_t floats) { return std::exchange(next, next + floats); };
    query_ = take(a_.depth * nr_);                               // [depth][nr]
    key_ = take(round_up(a_.keys, kPanel) * a_.depth);           // [keys/16][depth][16]
    value_ = take(a_.keys * round_up(a_.width, value_panel()));  // [width/panel][keys][panel]
    scores_ = take(round_up(a_.keys, kPanel) * nr_);             // [keys][nr]
    for (auto& reg : registers_) reg = take(tile_);              // [16][nr]
    for (const ScoreLoad& load : a_.loads) {
      if (!load.scalar) continue;
      float value;
      to_floats(&value, load.operand.dtype, element(e_, load.operand, 0), 1);
      std::fill_n(registers_[static_cast<std::size_t>(load.reg)], tile_, value);
    }
  }

  static std::size_t bytes(const FusedAttention& a) {
    const std::int64_t nr = kernels().nr, keys = round_up(a.keys, kPanel);
    const std::int64_t wide = round_up(a.width, std::max<std::int64_t>(nr, kPanel));
    const std::int64_t floats = a.depth * nr + keys * a.depth + a.keys * wide + keys * nr +
                                FusedAttention::kRegisters * kPanel * nr;
    return static_cast<std::size_t>(round_up(floats, 16)) * sizeof(float);
  }

  void load_batch(std::int64_t b) {
    const std::byte* const k = element(e_, a_.k.operand, offset_of(b, a_.batch_dims, a_.k.batch));
    const std::byte* const v = element(e_, a_.v.operand, offset_of(b, a_.batch_dims, a_.v.batch));
    const auto key_size = static_cast<std::int64_t>(dtype_size(a_.k.operand.dtype));
    const auto value_size = static_cast<std::int64_t>(dtype_size(a_.v.operand.dtype));
    const bool bounded = !a_.key_limits.empty();
    key_norm_ = 0;
    bool finite = true;
    for (std::int64_t i = 0; i < a_.keys; i += kPanel) {
      fill_panel(a_.k.operand.dtype, key_ + i * a_.depth, kPanel, k + i * a_.k.row * key_size,
                 a_.k.row, a_.k.column, std::min(kPanel, a_.keys - i), a_.depth);
      if (!bounded) continue;
      const float norm = kernels().largest_square_sum(key_ + i * a_.depth, a_.depth, kPanel);
      finite = finite && std::isfinite(norm);
      key_norm_ = std::max(key_norm_, norm);
    }
    const std::int64_t step = value_panel();
    for (std::int64_t i = 0; i < a_.width; i += step) {
      float* const panel = value_ + i * a_.keys;
      fill_panel(a_.v.operand.dtype, panel, step, v + i * a_.v.column * value_size, a_.v.column,
                 a_.v.row, std::min(step, a_.width - i), a_.keys);
      finite =
          finite && bounded && std::isfinite(kernels().largest_square_sum(panel, a_.keys, step));
    }
    if (!finite) key_norm_ = std::numeric_limits<float>::infinity();
  }

  // Queries [first, first + nr) of batch b.
  void run_tile(std::int64_t b, std::int64_t first) const {
    const std::int64_t count = std::min(nr_, a_.rows - first);
    const std::int64_t at = offset_of(b, a_.batch_dims, a_.q.batch) + first * a_.q.row;
    fill_panel(a_.q.operand.dtype, query_, nr_, element(e_, a_.q.operand, at), a_.q.row,
               a_.q.column, count, a_.depth);
    const Limits limits = limits_of(first, count);
    const std::int64_t keys = limits.of(0, count);
    const std::uint8_t* const zeros = zeros_of(first);
    const std::int64_t lanes = std::min(kPanel, nr_), least = limits.of(0, lanes);
    for (std::int64_t k = 0; k < keys; k += kPanel) {
      score(b * a_.rows + first, k, k >= least ? lanes : 0, count,
            zeros != nullptr && zeros[k / kPanel] != 0);
    }
    for (std::int64_t i = 0; i < count; i += lanes) {
      const std::int64_t own = limits.of(i, i + lanes);
      kernels().softmax_columns(scores_ + i, own, lanes, a_.round_weights);
      for (std::int64_t k = own; k < keys; ++k) std::fill_n(scores_ + k * nr_ + i, lanes, 0.0f);
    }
    store(b, first, limits);
  }

 private:
  bool row_major() const { return a_.y.column == 1; }
  std::int64_t value_panel() const { return row_major() ? nr_ : kPanel; }
  // Where the mask adds zero to a tile's scores; null: nothing is known.
  const std::uint8_t* zeros_of(std::int64_t first) const {
    if (a_.is_zero.empty()) return nullptr;
    return a_.is_zero.data() + first % a_.mask_rows / nr_ * ceil_div(a_.keys, kPanel);
  }

  // Keys that can have weight for queries of a tile.
  struct Limits {
    std::int64_t count, keys;   // queries, and all keys
    const std::int64_t* every;  // of every mr queries; null: all keys

    std::int64_t of_part(std::int64_t part) const { return every != nullptr ? every[part] : keys; }
    std::int64_t of(std::int64_t first, std::int64_t last) const {
      if (every == nullptr) return keys;
      const std::int64_t mr = kernels().mr;
      return *std::max_element(every + first / mr, every + ceil_div(std::min(last, count), mr));
    }
  };

  // The others have weight 0: by Cauchy and Schwarz no score is larger than |q| |k|, plus roundings
  // (2^-11 each, 2 % are more than enough), so that neither overflows nor reaches what the mask
  // takes away. exp gives 0 from -105 on.
  Limits limits_of(std::int64_t first, std::int64_t count) const {
    if (a_.key_limits.empty()) return {count, a_.keys, nullptr};
    const float query_norm = kernels().largest_square_sum(query_, a_.depth, nr_);
    const float most = 1.02f * std::sqrt(query_norm) * std::sqrt(key_norm_);
    const bool holds = most * a_.peak < 60000 && 2 * most * a_.scale + 400 < kGap;
    const std::int64_t* const own = a_.key_limits.data() + first % a_.mask_rows / kernels().mr;
    return {count, a_.keys, holds ? own : nullptr};
  }

  // scores[16][nr] of keys [k, k + 16): the product, rounded, through the elementwise operations.
  // Queries before `from` need none.
  void score(std::int64_t row, std::int64_t k, std::int64_t from, std::int64_t count,
             bool unmasked) const {
    const Kernels& kernel = kernels();
    const int steps = static_cast<int>(a_.code.size()) - (unmasked ? 1 : 0);
    float* const result = scores_ + k * nr_;
    float* const product = steps == 0 ? result : registers_[0];
    kernel.score_tile(key_ + k * a_.depth, query_, a_.depth, product, from, a_.round_scores);
    if (steps == 0) return;
    for (std::size_t i = 0; i < a_.loads.size(); ++i) {
      const ScoreLoad& load = a_.loads[i];
      if (load.scalar || (unmasked && static_cast<int>(i) == a_.mask_load)) continue;
      const std::int64_t at = offset_of(row, load.dims, load.strides) + k * load.key;
      pack_tile(load.operand.dtype, registers_[static_cast<std::size_t>(load.reg)], nr_,
                element(e_, load.operand, at), load.row(), load.key, count,
                std::min(kPanel, a_.keys - k));
    }
    auto registers = registers_;
    registers[a_.code[static_cast<std::size_t>(steps - 1)].dst] = result;
    kernel.chain(a_.code.data(), steps, registers.data(), static_cast<int>(tile_));
  }

  // y of the tile: weights times values, in whichever order lets results lie next to each other.
  void store(std::int64_t b, std::int64_t first, const Limits& limits) const {
    const Kernels& kernel = kernels();
    const std::int64_t count = limits.count, keys = limits.of(0, count);
    float* const acc = registers_[0];
    const DType dtype = a_.y.operand.dtype;
    const std::int64_t at = offset_of(b, a_.batch_dims, a_.y.batch) + first * a_.y.row;
    std::byte* const y =
        e_.out<std::byte>(a_.y.operand) + at * static_cast<std::int64_t>(dtype_size(dtype));
    if (row_major()) {
      for (std::int64_t d = 0; d < a_.width; d += nr_) {
        for (std::int64_t i = 0, part = 0; i < count; i += kernel.mr, ++part) {
          kernel.gemm_tile(scores_ + i, nr_, value_ + d * a_.keys, limits.of_part(part), acc, true);
          store_tile({dtype, y, a_.y.row}, i, d, acc, nr_,
                     std::min<std::int64_t>(kernel.mr, count - i), std::min(nr_, a_.width - d));
        }
      }
      return;
    }
    for (std::int64_t d = 0; d < a_.width; d += kernel.mr) {
      const float* const values = value_ + d / kPanel * kPanel * a_.keys + d % kPanel;
      kernel.gemm_tile(values, kPanel, scores_, keys, acc, true);
      store_tile({dtype, y, a_.y.column}, d, 0, acc, nr_,
                 std::min<std::int64_t>(kernel.mr, a_.width - d), count);
    }
  }

  const FusedAttention& a_;
  const Exec& e_;
  std::int64_t nr_, tile_;
  float *query_, *key_, *value_, *scores_;
  std::array<float*, FusedAttention::kRegisters> registers_{};
  float key_norm_ = 0;  // squared; infinity when nothing may be left out
};

}  // namespace

bool FusedAttention::fits() const {
  const std::int64_t nr = kernels().nr;
  return std::all_of(loads.begin(), loads.end(), [&](const ScoreLoad& load) {
    return load.scalar || load.dims.back() == rows || load.dims.back() % nr == 0;
  });
}

void FusedAttention::learn_mask() {
  const ScoreLoad& mask = loads[static_cast<std::size_t>(mask_load)];
  mask_rows = mask.dims.back();
  std::vector<float> values(static_cast<std::size_t>(mask.operand.count()));
  to_floats(values.data(), mask.operand.dtype, mask.operand.constant, mask.operand.count());
  const auto value = [&](std::int64_t r, std::int64_t k) {
    return values[static_cast<std::size_t>(r * mask.row() + k * mask.key)];
  };
  // Keys up to the last that has weight in one of the rows [first, last).
  const auto limit_of = [&](std::int64_t first, std::int64_t last) {
    // The best of every row, and the worst of those.
    float kept = std::numeric_limits<float>::infinity();
    for (std::int64_t r = first; r < last; ++r) {
      float best = -std::numeric_limits<float>::infinity();
      for (std::int64_t k = 0; k < keys; ++k) best = std::max(best, value(r, k));
      kept = std::min(kept, best);
    }
    const auto has_weight = [&](std::int64_t k) {
      for (std::int64_t r = first; r < last; ++r) {
        if (!(value(r, k) <= kept - kGap)) return true;  // NaN counts as weight
      }
      return false;
    };
    std::int64_t limit = keys;
    while (limit > 1 && !has_weight(limit - 1)) --limit;
    return limit;
  };
  const std::int64_t mr = kernels().mr, nr = kernels().nr;
  for (std::int64_t first = 0; first < mask_rows; first += mr)
    key_limits.push_back(limit_of(first, std::min(first + mr, mask_rows)));
  for (std::int64_t first = 0; first < mask_rows; first += nr) {
    const std::int64_t last = std::min(first + nr, mask_rows);
    for (std::int64_t k0 = 0; k0 < keys; k0 += kPanel) {
      bool zero = true;
      for (std::int64_t k = k0; zero && k < std::min(k0 + kPanel, keys); ++k) {
        for (std::int64_t r = first; zero && r < last; ++r) zero = value(r, k) == 0;
      }
      is_zero.push_back(zero ? 1 : 0);
    }
  }
}

std::size_t FusedAttention::slot_bytes() const { return Task::bytes(*this); }

void FusedAttention::run(const Exec& e, const Workspace& ws) const {
  const std::int64_t batch = element_count(batch_dims), nr = kernels().nr;
  const std::int64_t tiles = (rows + nr - 1) / nr;
  const int slots = batch * rows * keys * (depth + width) < kSmallProduct ? 1 : ws.slots;
  // Every task packs the keys and values of its batch: split one only for the threads' sake.
  const std::int64_t wanted = slots == 1 ? 1 : (2 * slots + batch - 1) / batch;
  const std::int64_t parts = std::min(tiles, wanted);
  run_slots(slots, batch * parts, [&](int slot, std::int64_t index) {
    const std::int64_t b = index / parts, part = index % parts;
    Task task(*this, e, ws.data + static_cast<std::size_t>(slot) * slot_bytes());
    task.load_batch(b);
    for (std::int64_t t = tiles * part / parts; t < tiles * (part + 1) / parts; ++t)
      task.run_tile(b, t * nr);
  });
}

}  // namespace milane::host
