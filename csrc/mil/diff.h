// What differs between two programs, whatever their values are called.
#pragma once

#include <string>
#include <vector>

#include "mil/program.h"

namespace milane::mil {

struct Difference {
  std::string function;
  int index_a = -1;  // of the operation in its function; -1 where there is none
  int index_b = -1;
  // "function", "inputs", "outputs", "inserted", "removed", "replaced", "argument", "constant",
  // "attribute", "type", "block"
  std::string kind;
  std::string text;
};

// Differences from `a` to `b`, in text order. Constants count where they are used, not where they
// stand; result names, `name` attributes, buildInfo and the order of arguments do not count.
// One operation more is one difference: what it feeds is followed through it.
// `ops_only` compares the sequences of operation types.
std::vector<Difference> diff(const Program& a, const Program& b, bool ops_only = false);

// Equal in everything that is printed: names, attributes and order included.
bool equal(const Operation& a, const Operation& b);
bool equal(const Program& a, const Program& b);

}  // namespace milane::mil
