#include "host/chain.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "host/broadcast.h"
#include "host/kernels/kernels.h"
#include "host/parallel.h"

namespace milane::host {
namespace {

// A tile is small enough that all registers of a chain stay in the first-level cache.
constexpr int kTile = 256;
constexpr int kMaxRegisters = 24;
constexpr std::int64_t kGrain = 64 * kTile;

template <class T>
void load_run(float* dst, const std::byte* src, std::int64_t first, std::int64_t n) {
  const T* s = reinterpret_cast<const T*>(src) + first;
  for (std::int64_t i = 0; i < n; ++i) dst[i] = static_cast<float>(s[i]);
}

// n consecutive elements from `first` on, widened.
void load_elements(DType dtype, float* dst, const std::byte* src, std::int64_t first,
                   std::int64_t n) {
  switch (dtype) {
    case DType::kFp16:
      return kernels().half_to_float(dst, reinterpret_cast<const Half*>(src) + first,
                                     static_cast<std::size_t>(n));
    case DType::kFp32:
      return void(std::memcpy(dst, src + first * 4, static_cast<std::size_t>(n) * 4));
    case DType::kBool:
    case DType::kUInt8:
      return load_run<std::uint8_t>(dst, src, first, n);
    case DType::kInt8:
      return load_run<std::int8_t>(dst, src, first, n);
    case DType::kInt16:
      return load_run<std::int16_t>(dst, src, first, n);
    case DType::kUInt16:
      return load_run<std::uint16_t>(dst, src, first, n);
    case DType::kUInt32:
      return load_run<std::uint32_t>(dst, src, first, n);
    default:
      return load_run<std::int32_t>(dst, src, first, n);
  }
}

template <class T>
void store_run(std::byte* dst, const float* src, std::int64_t first, std::int64_t n) {
  T* d = reinterpret_cast<T*>(dst) + first;
  for (std::int64_t i = 0; i < n; ++i) d[i] = static_cast<T>(src[i]);
}

void store_elements(DType dtype, std::byte* dst, const float* src, std::int64_t first,
                    std::int64_t n) {
  switch (dtype) {
    case DType::kFp16:
      return kernels().float_to_half(reinterpret_cast<Half*>(dst) + first, src,
                                     static_cast<std::size_t>(n));
    case DType::kFp32:
      return void(std::memcpy(dst + first * 4, src, static_cast<std::size_t>(n) * 4));
    case DType::kBool:
    case DType::kUInt8:
      return store_run<std::uint8_t>(dst, src, first, n);
    case DType::kInt8:
      return store_run<std::int8_t>(dst, src, first, n);
    case DType::kInt16:
      return store_run<std::int16_t>(dst, src, first, n);
    case DType::kUInt16:
      return store_run<std::uint16_t>(dst, src, first, n);
    case DType::kUInt32:
      return store_run<std::uint32_t>(dst, src, first, n);
    default:
      // int32's largest value is no float: 2^31 would overflow the conversion.
      for (std::int64_t i = 0; i < n; ++i) {
        reinterpret_cast<std::int32_t*>(dst)[first + i] =
            src[i] >= 2147483648.0f ? 2147483647 : static_cast<std::int32_t>(src[i]);
      }
  }
}

struct Load {
  Operand operand;
  int reg;
  Broadcast map;
};

// Everything a run needs, fixed at planning.
struct ChainCode {
  std::vector<Micro> micros;
  std::vector<Load> loads;
  std::vector<std::pair<Operand, int>> stores;
  int registers = 0;
  std::int64_t count = 0;
};

void fill_tile(const Load& load, const std::byte* src, float* reg, std::int64_t first, int n) {
  load.map.for_each_run(first, n,
                        [&](std::int64_t at, std::int64_t from, std::int64_t run, bool repeat) {
                          if (!repeat)
                            return load_elements(load.operand.dtype, reg + at, src, from, run);
                          load_elements(load.operand.dtype, reg + at, src, from, 1);
                          std::fill(reg + at, reg + at + run, reg[at]);
                        });
}

void run_range(const ChainCode& code, const Exec& exec, std::int64_t begin, std::int64_t end) {
  alignas(64) float tiles[kMaxRegisters][kTile];
  float* registers[kMaxRegisters];
  for (int r = 0; r < code.registers; ++r) registers[r] = tiles[r];
  const Kernels& k = kernels();
  bool scalars_loaded = false;
  for (std::int64_t i = begin; i < end; i += kTile) {
    const int n = static_cast<int>(std::min<std::int64_t>(kTile, end - i));
    for (const Load& load : code.loads) {
      // A scalar is the same in every tile: one fill serves the whole range.
      const bool scalar = load.map.is_scalar();
      if (scalar && scalars_loaded) continue;
      fill_tile(load, exec.in<std::byte>(load.operand), registers[load.reg], i, scalar ? kTile : n);
    }
    scalars_loaded = true;
    k.chain(code.micros.data(), static_cast<int>(code.micros.size()), registers, n);
    for (const auto& [operand, reg] : code.stores) {
      store_elements(operand.dtype, exec.out<std::byte>(operand), registers[reg], i, n);
    }
  }
}

bool is_narrow(DType t) { return t == DType::kFp16 || t == DType::kFp32 || t == DType::kBool; }

}  // namespace

bool is_chainable(const Lowered& op, const std::vector<Operand>& ins, const Operand& out) {
  const bool all_float =
      std::all_of(ins.begin(), ins.end(), [](const Operand& o) { return is_narrow(o.dtype); });
  if (all_float && is_narrow(out.dtype)) return true;
  const bool is_cast = op.micro.op == MicroOp::kCopy || op.micro.op == MicroOp::kTruncate ||
                       op.micro.op == MicroOp::kToBool;
  return is_cast && is_narrow(ins.front().dtype) != is_narrow(out.dtype);
}

int ChainBuilder::register_of(const Operand& operand) {
  for (const auto& [id, reg] : registers_) {
    if (id == operand.id) return reg;
  }
  loads_.push_back(operand);
  registers_.emplace_back(operand.id, next_register_);
  return next_register_++;
}

bool ChainBuilder::add(const Lowered& op, const std::vector<Operand>& ins, const Operand& out) {
  if (next_register_ + static_cast<int>(ins.size()) + 1 > kMaxRegisters) return false;
  Micro m = op.micro;
  std::uint8_t* slots[] = {&m.a, &m.b, &m.c};
  for (std::size_t i = 0; i < ins.size(); ++i)
    *slots[i] = static_cast<std::uint8_t>(register_of(ins[i]));
  m.dst = static_cast<std::uint8_t>(next_register_);
  m.round = out.dtype == DType::kFp16;
  registers_.emplace_back(out.id, next_register_++);
  results_.push_back(out);
  code_.push_back(m);
  return true;
}

RunFn ChainBuilder::build(const std::function<bool(ValueId)>& is_live) {
  ChainCode code;
  code.micros = code_;
  code.registers = next_register_;
  code.count = element_count(dims_);
  const auto reg = [&](ValueId id) {
    return std::find_if(registers_.begin(), registers_.end(),
                        [&](auto& r) { return r.first == id; })
        ->second;
  };
  for (const Operand& o : loads_) code.loads.push_back({o, reg(o.id), Broadcast(o.dims, dims_)});
  for (const Operand& o : results_) {
    if (!is_live(o.id)) continue;
    stores_.push_back(o);
    code.stores.emplace_back(o, reg(o.id));
  }
  return [code = std::move(code)](const Exec& exec) {
    parallel_for(code.count, kGrain,
                 [&](std::int64_t begin, std::int64_t end) { run_range(code, exec, begin, end); });
  };
}

}  // namespace milane::host
