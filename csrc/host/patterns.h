// Groups of operations that run as one step.
#pragma once

#include "host/graph.h"

namespace milane::host {

// Replaces every group that a rule of patterns.cpp knows. Results keep their bits.
void apply_patterns(Graph& graph);
// One of those rules, of pattern_norm.cpp.
void apply_max_first_norms(Graph& graph);

}  // namespace milane::host
