// What the device's compiler refuses, as data, and what of it a program breaks.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mil/program.h"

namespace milane {

// A hard limit: a program that breaks it compiles on no chip. Limits of some chips and advice on
// speed are not here, nor what the language refuses before: empty tensors (ane_facts D 11), results
// that nothing defines (D 5), damaged weight files (D 14 to 16).
struct LimitRule {
  std::string_view id;
  std::string_view rule;        // what holds of a program that compiles
  std::string_view source;      // who says so
  std::string_view confidence;  // "several sources", "one source" or "sources disagree"
  std::string_view hint;        // what to write instead
  // The compiler's word: InvalidMILProgram (it does not take the text), else CompilationFailure (it
  // takes the text and finds no way to run it).
  bool malformed = false;
  std::string_view operations = {};  // refused wherever they stand, separated by spaces
};

struct LimitFinding {
  const LimitRule* rule = nullptr;
  mil::Location location;
  std::string message;
};

std::span<const LimitRule> limit_rules();

// Every limit that `program` breaks, in text order; empty: nothing known against it. Types are
// taken as declared: the program should have passed verify().
std::vector<LimitFinding> broken_limits(const mil::Program& program);

// The numbers behind the limits: the largest that any chip is known to take.
inline constexpr std::int64_t kMaxDim = 65536;
inline constexpr std::int64_t kMaxKernelWidth = 16;
inline constexpr std::int64_t kMaxArgAxis = 2048;
inline constexpr std::int64_t kMaxWeightBytes = std::int64_t{2} << 30;

}  // namespace milane
