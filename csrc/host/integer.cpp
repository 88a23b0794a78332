// Elementwise operations on integers: exact in 64 bits, wrapped to the result's type.
#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "host/broadcast.h"
#include "host/chain.h"
#include "host/parallel.h"

namespace milane::host {
namespace {

using Binary = std::int64_t (*)(std::int64_t, std::int64_t);

std::int64_t floor_divide(std::int64_t x, std::int64_t y) {
  if (y == 0) return 0;  // as NumPy gives; the language leaves it open
  const std::int64_t q = x / y;
  return x % y != 0 && (x < 0) != (y < 0) ? q - 1 : q;
}

std::int64_t power(std::int64_t x, std::int64_t y) {
  if (y < 0) return x == 1 ? 1 : (x == -1 ? (y % 2 ? -1 : 1) : 0);
  std::uint64_t result = 1, base = static_cast<std::uint64_t>(x);  // unsigned: wraps
  for (; y > 0; y >>= 1, base *= base) {
    if (y & 1) result *= base;
  }
  return static_cast<std::int64_t>(result);
}

Binary binary_of(MicroOp op) {
  using I = std::int64_t;
  switch (op) {
    case MicroOp::kCopy:
    case MicroOp::kTruncate:
      return [](I x, I) { return x; };
    case MicroOp::kToBool:
      return [](I x, I) { return I{x != 0}; };
    case MicroOp::kAbs:
      return [](I x, I) { return x < 0 ? -x : x; };
    case MicroOp::kSign:
      return [](I x, I) { return I{x > 0} - I{x < 0}; };
    case MicroOp::kSquare:
      return [](I x, I) { return x * x; };
    case MicroOp::kExp2:
      return [](I x, I) { return x >= 0 && x < 63 ? I{1} << x : I{0}; };
    case MicroOp::kNot:
      return [](I x, I) { return I{x == 0}; };
    case MicroOp::kAdd:
      return [](I x, I y) { return x + y; };
    case MicroOp::kSub:
      return [](I x, I y) { return x - y; };
    case MicroOp::kMul:
      return [](I x, I y) { return x * y; };
    case MicroOp::kDiv:
      return [](I x, I y) { return y == 0 ? I{0} : x / y; };
    case MicroOp::kFloorDiv:
      return floor_divide;
    case MicroOp::kMod:
      return [](I x, I y) { return y == 0 ? I{0} : x - floor_divide(x, y) * y; };
    case MicroOp::kPow:
      return power;
    case MicroOp::kMax:
      return [](I x, I y) { return x > y ? x : y; };
    case MicroOp::kMin:
      return [](I x, I y) { return x < y ? x : y; };
    case MicroOp::kEqual:
      return [](I x, I y) { return I{x == y}; };
    case MicroOp::kNotEqual:
      return [](I x, I y) { return I{x != y}; };
    case MicroOp::kLess:
      return [](I x, I y) { return I{x < y}; };
    case MicroOp::kLessEqual:
      return [](I x, I y) { return I{x <= y}; };
    case MicroOp::kGreater:
      return [](I x, I y) { return I{x > y}; };
    case MicroOp::kGreaterEqual:
      return [](I x, I y) { return I{x >= y}; };
    default:
      return nullptr;
  }
}

template <class T>
T read_as(const std::byte* p, std::int64_t i) {
  T v;
  std::memcpy(&v, p + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return v;
}

std::int64_t read_integer(DType t, const std::byte* p, std::int64_t i) {
  switch (t) {
    case DType::kBool:
    case DType::kUInt8:
      return read_as<std::uint8_t>(p, i);
    case DType::kInt8:
      return read_as<std::int8_t>(p, i);
    case DType::kInt16:
      return read_as<std::int16_t>(p, i);
    case DType::kUInt16:
      return read_as<std::uint16_t>(p, i);
    case DType::kUInt32:
      return read_as<std::uint32_t>(p, i);
    case DType::kInt64:
    case DType::kUInt64:
      return read_as<std::int64_t>(p, i);
    default:
      return read_as<std::int32_t>(p, i);
  }
}

// Two's complement keeps the low bytes: the wrap of the narrower type.
void write_integer(DType t, std::byte* p, std::int64_t i, std::int64_t v) {
  const std::size_t size = dtype_size(t);
  std::memcpy(p + i * static_cast<std::int64_t>(size), &v, size);
}

// The operand's value at every output position, one at a time: integers are few and small.
class Reader {
 public:
  Reader(const Operand& o, const Dims& dims) : operand_(o), map_(o.dims, dims) {}
  std::int64_t at(const Exec& exec, std::int64_t i) const {
    std::int64_t from = 0;
    map_.for_each_run(i, 1, [&](std::int64_t, std::int64_t f, std::int64_t, bool) { from = f; });
    return read_integer(operand_.dtype, exec.in<std::byte>(operand_), from);
  }

 private:
  Operand operand_;
  Broadcast map_;
};

constexpr std::int64_t kGrain = 8192;

RunFn select_integers(const std::vector<Operand>& ins, const Operand& out) {
  const Reader cond(ins[0], out.dims), a(ins[1], out.dims), b(ins[2], out.dims);
  return [=](const Exec& exec) {
    parallel_for(out.count(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t v = cond.at(exec, i) != 0 ? a.at(exec, i) : b.at(exec, i);
        write_integer(out.dtype, exec.out<std::byte>(out), i, v);
      }
    });
  };
}

// max(x, alpha); alpha is an integer written as one.
RunFn threshold_integers(const Lowered& op, const Operand& in, const Operand& out) {
  const Reader x(in, out.dims);
  const auto alpha = static_cast<std::int64_t>(op.micro.p);
  return [=](const Exec& exec) {
    parallel_for(out.count(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        write_integer(out.dtype, exec.out<std::byte>(out), i, std::max(x.at(exec, i), alpha));
      }
    });
  };
}

}  // namespace

RunFn integer_elementwise(const Lowered& op, const std::vector<Operand>& ins, const Operand& out) {
  if (op.micro.op == MicroOp::kSelect) return select_integers(ins, out);
  if (op.micro.op == MicroOp::kThreshold) return threshold_integers(op, ins[0], out);
  const Binary f = binary_of(op.micro.op);
  if (f == nullptr) return nullptr;
  const Reader x(ins[0], out.dims), y(ins.size() > 1 ? ins[1] : ins[0], out.dims);
  return [=](const Exec& exec) {
    parallel_for(out.count(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        write_integer(out.dtype, exec.out<std::byte>(out), i, f(x.at(exec, i), y.at(exec, i)));
      }
    });
  };
}

}  // namespace milane::host
