#include "backend/ane_rules.h"

#include <array>

namespace milane {
namespace {

constexpr std::array<QuirkRule, kQuirkCount> kRules{{
    {Quirk::kMacCeiling, "mac_ceiling",
     "results of matmul, linear, conv, conv_transpose and einsum of magnitude 32768 or more become "
     "infinite",
     "all", "sbryngelson/ane-guide ch. 3; ANEForge issues 115, 145", "several sources"},
    {Quirk::kNanInput, "nan_input", "a NaN input is read as +infinity", "all",
     "sbryngelson/ane-guide ch. 3", "one source"},
    {Quirk::kNanResult, "nan_result", "indeterminate results are +0: the engine never returns NaN",
     "all", "sbryngelson/ane-guide ch. 3", "one source"},
    {Quirk::kNegativeZeroAdd, "negative_zero_add", "add and sub return +0 instead of -0", "all",
     "sbryngelson/ane-guide ch. 3", "one source"},
    {Quirk::kLogZero, "log_zero", "log of 0 (epsilon included) is -45440", "all",
     "sbryngelson/ane-guide ch. 3", "one source"},
    {Quirk::kReciprocalZero, "reciprocal_zero",
     "real_div by -0 is real_div by +0: 1 / -0 is +infinity", "all", "sbryngelson/ane-guide ch. 3",
     "one source"},
    {Quirk::kSoftplusCutoff, "softplus_cutoff", "softplus is 0 from 11.09 on", "all",
     "ANEForge _compile.py; ane-guide ch. 3", "one source"},
    {Quirk::kSoftsignInfinity, "softsign_infinity", "softsign(+infinity) is 0", "all",
     "sbryngelson/ane-guide ch. 3", "one source"},
    {Quirk::kWidthSlice, "width_slice",
     "a slice of the last axis with a start above 0 turns magnitudes above 4094 into infinity",
     "M1, M2", "sbryngelson/ane-guide ch. 3; ANEForge issue 153", "several sources"},
    {Quirk::kMacDenormal, "mac_denormal",
     "subnormal results of matmul, linear, conv, conv_transpose and einsum are flushed to 0", "M1",
     "sbryngelson/ane-guide ch. 3", "several sources"},
}};

}  // namespace

std::span<const QuirkRule> quirk_rules() { return kRules; }

QuirkSet default_quirks() {
  QuirkSet set;
  for (const auto& rule : kRules) {
    if (rule.scope == "all") set.set(static_cast<std::size_t>(rule.id));
  }
  return set;
}

}  // namespace milane
