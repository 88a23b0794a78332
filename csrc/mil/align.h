// The longest common part of two sequences.
#pragma once

#include <utility>
#include <vector>

namespace milane::mil {

using Pairs = std::vector<std::pair<int, int>>;

// Positions of equal keys, both rising. Sequences that share very little are given up in between
// their common ends, so that time and memory stay bounded.
Pairs align(const std::vector<int>& a, const std::vector<int>& b);

}  // namespace milane::mil
