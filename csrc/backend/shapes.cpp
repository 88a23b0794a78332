#include "backend/shapes.h"

#include <algorithm>
#include <vector>

#include "core/error.h"

namespace milane {
namespace {

Dims dims_of(const mil::Value& v, std::int64_t from = 0, std::int64_t n = -1) {
  Dims d;
  const std::int64_t count = n < 0 ? v.count() : n;
  for (std::int64_t i = 0; i < count; ++i)
    d.push_back(v.integer(static_cast<std::size_t>(from + i)));
  return d;
}

// What FlexibleShapeInformation says, by input name.
struct Flexibility {
  std::map<std::string, Dims> defaults;
  std::map<std::string, std::vector<std::pair<std::int64_t, std::int64_t>>> ranges;
  std::map<std::string, std::vector<Dims>> enumerated;
};

void read_ranges(const mil::Value& dict, Flexibility& f) {
  for (std::size_t i = 0; i + 1 < dict.members.size(); i += 2) {
    auto& ranges = f.ranges[dict.members[i].strings.at(0)];
    for (const auto& pair : dict.members[i + 1].members) {
      if (pair.data.size() >= 8) ranges.emplace_back(pair.integer(0), pair.integer(1));
    }
  }
}

void read_enumerated(const mil::Value& dict, Flexibility& f) {
  for (std::size_t i = 0; i + 1 < dict.members.size(); i += 2) {
    const auto& shapes = dict.members[i + 1].members;
    for (std::size_t j = 0; j + 1 < shapes.size(); j += 2) {
      f.enumerated[shapes[j].strings.at(0)].push_back(dims_of(shapes[j + 1]));
    }
  }
}

void read_entry(const std::string& key, const mil::Value& value, Flexibility& f) {
  if (key == "DefaultShapes") {
    for (std::size_t i = 0; i + 1 < value.members.size(); i += 2) {
      f.defaults[value.members[i].strings.at(0)] = dims_of(value.members[i + 1]);
    }
  } else if (key == "RangeDims") {
    read_ranges(value, f);
  } else if (key == "EnumeratedShapes") {
    read_enumerated(value, f);
  }
}

// The attribute is a tuple of (name, value) tuples, or one such pair.
Flexibility read_flexibility(const mil::Function& function) {
  Flexibility f;
  const mil::Value* info = function.attribute("FlexibleShapeInformation");
  if (info == nullptr) return f;
  const auto& m = info->members;
  if (m.size() == 2 && !m[0].strings.empty()) {
    read_entry(m[0].strings[0], m[1], f);
    return f;
  }
  for (const auto& pair : m) {
    if (pair.members.size() == 2 && !pair.members[0].strings.empty()) {
      read_entry(pair.members[0].strings[0], pair.members[1], f);
    }
  }
  return f;
}

[[noreturn]] void fail(const std::string& input, const std::string& message,
                       const std::string& hint = {}) {
  throw Error(ErrorCode::kInvalidArgument, "input " + input + ": " + message, hint);
}

bool fits(const Dims& declared, const Dims& given) {
  if (declared.size() != given.size()) return false;
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (given[i] <= 0 || (declared[i] != kUnknownDim && declared[i] != given[i])) return false;
  }
  return true;
}

void check_range(const std::string& name, const Dims& given, const Flexibility& f) {
  const auto it = f.ranges.find(name);
  if (it == f.ranges.end() || it->second.size() != given.size()) return;
  for (std::size_t i = 0; i < given.size(); ++i) {
    // An upper bound below the lower one (-1 in files) means "no bound".
    const auto [low, high] = it->second[i];
    if (given[i] < low || (high >= low && given[i] > high)) {
      fail(name, "expected axis " + std::to_string(i) + " in [" + std::to_string(low) + ", " +
                     (high < low ? "inf" : std::to_string(high)) + "], got " + to_string(given));
    }
  }
}

void check_enumerated(const std::string& name, const Dims& given, const Flexibility& f) {
  const auto it = f.enumerated.find(name);
  if (it == f.enumerated.end()) return;
  if (std::find(it->second.begin(), it->second.end(), given) != it->second.end()) return;
  std::string allowed;
  for (const Dims& d : it->second) allowed += (allowed.empty() ? "" : " or ") + to_string(d);
  fail(name, "expected " + allowed + ", got " + to_string(given));
}

}  // namespace

std::map<std::string, Dims> concrete_shapes(const mil::Function& function,
                                            const std::map<std::string, Dims>& requested) {
  const Flexibility f = read_flexibility(function);
  std::map<std::string, Dims> shapes;
  for (const auto& input : function.body.inputs) {
    const Dims& declared = input.type.unwrapped().dims;
    Dims shape = declared;
    if (const auto r = requested.find(input.name); r != requested.end()) {
      shape = r->second;
      if (!fits(declared, shape)) {
        fail(input.name,
             "expected a shape that fits " + to_string(declared) + ", got " + to_string(shape));
      }
      check_range(input.name, shape, f);
      check_enumerated(input.name, shape, f);
    } else if (const auto d = f.defaults.find(input.name);
               !is_static(declared) && d != f.defaults.end()) {
      shape = d->second;
      if (!fits(declared, shape)) {
        fail(input.name, "expected a default shape that fits " + to_string(declared) + ", got " +
                             to_string(shape));
      }
    } else if (const auto e = f.enumerated.find(input.name);
               !is_static(declared) && e != f.enumerated.end()) {
      shape = e->second.front();
    }
    if (!is_static(shape)) {
      fail(input.name, "expected a concrete shape, got " + to_string(shape),
           "pass shapes={\"" + input.name + "\": (...)} to compile()");
    }
    shapes[input.name] = std::move(shape);
  }
  for (const auto& [name, shape] : requested) {
    if (!shapes.contains(name)) {
      std::string known;
      for (const auto& input : function.body.inputs)
        known += (known.empty() ? "" : ", ") + input.name;
      throw Error(ErrorCode::kInvalidArgument, "shapes: expected an input of " + function.name +
                                                   " (" + known + "), got " + name);
    }
  }
  return shapes;
}

}  // namespace milane
