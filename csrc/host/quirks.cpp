#include "host/quirks.h"

#include <cmath>
#include <cstring>

#include "host/broadcast.h"
#include "host/graph.h"
#include "host/parallel.h"

namespace milane::host {
namespace {

constexpr std::uint16_t kSign = 0x8000, kMagnitude = 0x7FFF, kInfinity = 0x7C00;
constexpr std::uint16_t kMacLimitBits = 0x7800;  // 32768, the first magnitude that overflows
constexpr std::uint16_t kFirstNormal = 0x0400;
constexpr std::int64_t kGrain = 1 << 15;

bool is_mac(std::string_view op) {
  return op == "matmul" || op == "linear" || op == "conv" || op == "conv_transpose" ||
         op == "einsum";
}

bool has(const QuirkSet& set, Quirk q) { return set.test(static_cast<std::size_t>(q)); }

// What the bits of every result go through, whatever the operation.
struct ResultRules {
  bool nan_to_zero, mac_ceiling, mac_denormal, positive_zero, width_slice;

  std::uint16_t operator()(std::uint16_t h) const {
    std::uint16_t magnitude = h & kMagnitude;
    if (magnitude > kInfinity) return nan_to_zero ? 0 : h;
    if (mac_ceiling && magnitude >= kMacLimitBits) return (h & kSign) | kInfinity;
    if (mac_denormal && magnitude < kFirstNormal) return h & kSign;
    if (positive_zero && magnitude == 0) return 0;
    if (width_slice && half_to_float({magnitude}) > kWidthSliceLimit)
      return (h & kSign) | kInfinity;
    return h;
  }
  bool any() const {
    return nan_to_zero || mac_ceiling || mac_denormal || positive_zero || width_slice;
  }
};

// M1 and M2 move a slice that starts inside the last axis through a fixed-point path.
bool starts_inside_width(const OpSite& site, std::string_view op) {
  if (op != "slice_by_index" && op != "slice_by_size") return false;
  if (!site.args.known("begin")) return false;
  const auto begin = site.args.integers("begin");
  if (op == "slice_by_index" && site.has("begin_mask") && site.args.booleans("begin_mask").back())
    return false;
  const std::int64_t width = site.in("x").dims.back();
  return begin.back() != 0 && begin.back() != -width;
}

ResultRules rules_for(const OpSite& site, std::string_view op, const QuirkSet& q) {
  const bool add = op == "add" || op == "sub";
  return {has(q, Quirk::kNanResult), has(q, Quirk::kMacCeiling) && is_mac(op),
          has(q, Quirk::kMacDenormal) && is_mac(op), has(q, Quirk::kNegativeZeroAdd) && add,
          has(q, Quirk::kWidthSlice) && starts_inside_width(site, op)};
}

// A rule that also looks at the operand, epsilon included: (operand, result) -> result.
using OperandRule = float (*)(float x, float y);

OperandRule operand_rule(std::string_view op, const QuirkSet& q) {
  if (op == "log" && has(q, Quirk::kLogZero)) {
    return [](float x, float y) { return x == 0 ? kLogOfZero : y; };
  }
  if (op == "real_div" && has(q, Quirk::kReciprocalZero)) {
    // Of the divisor: -0 divides as +0 does.
    return [](float divisor, float y) { return divisor == 0 && std::signbit(divisor) ? -y : y; };
  }
  if (op == "softplus" && has(q, Quirk::kSoftplusCutoff)) {
    return [](float x, float y) { return x >= kSoftplusLimit ? 0.0f : y; };
  }
  if (op == "softsign" && has(q, Quirk::kSoftsignInfinity)) {
    return [](float x, float y) { return x == HUGE_VALF ? 0.0f : y; };
  }
  return nullptr;
}

void rewrite(const Operand& out, const Exec& exec, const ResultRules& rules) {
  auto* bits = exec.out<std::uint16_t>(out);
  parallel_for(out.count(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) bits[i] = rules(bits[i]);
  });
}

void rewrite(const Operand& x, const Broadcast& map, float epsilon, const Operand& out,
             const Exec& exec, OperandRule rule) {
  const Half* from = exec.in<Half>(x);
  Half* to = exec.out<Half>(out);
  parallel_for(out.count(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    map.for_each_run(begin, end - begin,
                     [&](std::int64_t at, std::int64_t first, std::int64_t run, bool repeat) {
                       for (std::int64_t i = 0; i < run; ++i) {
                         Half& y = to[begin + at + i];
                         const float operand = half_to_float(from[first + (repeat ? 0 : i)]);
                         // Adding 0 would lose the sign of a zero.
                         const float seen = epsilon == 0 ? operand : operand + epsilon;
                         y = float_to_half(rule(seen, half_to_float(y)));
                       }
                     });
  });
}

}  // namespace

void apply_quirks(const OpSite& site, std::string_view op, const QuirkSet& quirks, Node& node) {
  if (node.outputs.front().dtype != DType::kFp16) return;
  const ResultRules rules = rules_for(site, op, quirks);
  const OperandRule rule = operand_rule(op, quirks);
  if (!rules.any() && rule == nullptr) return;
  const float epsilon = op == "log" ? epsilon_of(site) : 0.0f;
  const Operand x = site.in(op == "real_div" ? "y" : "x");
  const Broadcast map(rule ? x.dims : Dims{}, node.outputs.front().dims);
  if (node.is_chain()) {
    ChainBuilder chain(node.outputs.front().dims);
    chain.add(node.lowered, node.chain_inputs, node.outputs.front());
    node.run = chain.build([](ValueId) { return true; });
  }
  node.run = [run = node.run, outs = node.outputs, x, map, rules, rule, epsilon](const Exec& exec) {
    run(exec);
    if (rule != nullptr) rewrite(x, map, epsilon, outs.front(), exec, rule);
    for (const Operand& out : outs) {
      if (out.dtype == DType::kFp16 && rules.any()) rewrite(out, exec, rules);
    }
  };
}

RunFn replace_input_nan(const Operand& from, const Operand& to) {
  return [from, to](const Exec& exec) {
    if (from.dtype == DType::kFp16) {
      const auto* x = exec.in<std::uint16_t>(from);
      auto* y = exec.out<std::uint16_t>(to);
      for (std::int64_t i = 0; i < from.count(); ++i) {
        y[i] = (x[i] & kMagnitude) > kInfinity ? kInfinity : x[i];
      }
    } else {
      const float* x = exec.in<float>(from);
      float* y = exec.out<float>(to);
      for (std::int64_t i = 0; i < from.count(); ++i) y[i] = std::isnan(x[i]) ? HUGE_VALF : x[i];
    }
  };
}

RunFn copy_bytes(const Operand& from, const Operand& to) {
  return [from, to](const Exec& exec) {
    const auto* x = exec.in<std::byte>(from);
    auto* y = exec.out<std::byte>(to);
    if (x != y) std::memcpy(y, x, from.bytes());
  };
}

}  // namespace milane::host
