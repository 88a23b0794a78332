// Published limits and quirks of the device, as data with their sources.
#pragma once

#include <bitset>
#include <cstdint>
#include <span>
#include <string_view>

namespace milane {

// Numeric behaviour that numerics="ane" imitates on the host. Sources: ane-guide chapter 3 and the
// issues it cites; the numbers are as published there, none was measured by this project.
enum class Quirk : std::uint8_t {
  kMacCeiling,        // matmul, linear, conv: |result| >= 32768 becomes infinity
  kNanInput,          // a NaN entering the program becomes +infinity
  kNanResult,         // an indeterminate result (inf - inf, 0 * inf, sqrt(-1)) becomes +0
  kNegativeZeroAdd,   // add and sub give +0 where IEEE gives -0
  kLogZero,           // log(0) = -45440
  kReciprocalZero,    // 1 / -0 = +infinity: a divisor -0 counts as +0
  kSoftplusCutoff,    // softplus(x) = 0 for x >= 11.09
  kSoftsignInfinity,  // softsign(+infinity) = 0
  kWidthSlice,        // M1, M2: a slice of the last axis that starts past 0 saturates above 4094
  kMacDenormal,       // M1: subnormal results of matmul, linear, conv flush to 0
};
inline constexpr std::size_t kQuirkCount = 10;
using QuirkSet = std::bitset<kQuirkCount>;

struct QuirkRule {
  Quirk id;
  std::string_view name;  // how Python and the docs call it
  std::string_view effect;
  std::string_view scope;  // "all", or the chips it was seen on
  std::string_view source;
  std::string_view confidence;  // "several sources" or "one source"
};

std::span<const QuirkRule> quirk_rules();
// Every rule whose scope is "all".
QuirkSet default_quirks();

// Largest magnitude that a multiply-accumulate result keeps, and the slice limit of M1 and M2.
inline constexpr float kMacLimit = 32768.0f;
inline constexpr float kWidthSliceLimit = 4094.0f;
inline constexpr float kLogOfZero = -45440.0f;
inline constexpr float kSoftplusLimit = 11.09f;

}  // namespace milane
