// What the type rules share.
#include <algorithm>

#include "mil/rules.h"

namespace milane::mil {

bool shapes_agree(const Dims& a, const Dims& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), dims_agree);
}

Dims merge_dims(const Dims& a, const Dims& b) {
  Dims merged = a;
  for (std::size_t i = 0; i < merged.size(); ++i) {
    if (merged[i] < 0) merged[i] = b[i];
  }
  return merged;
}

void check_rank(const OpArgs& args, std::string_view name, std::size_t lowest,
                std::size_t highest) {
  const auto& dims = args.dims(name);
  if (dims.size() >= lowest && dims.size() <= highest) return;
  auto wanted = std::to_string(lowest);
  if (highest > lowest) wanted += " to " + std::to_string(highest);
  args.fail(name, "expected " + std::string(name) + " of rank " + wanted + ", got rank " +
                      std::to_string(dims.size()) + " " + to_string(dims));
}

void check_shape(const OpArgs& args, std::string_view name, const Dims& expected) {
  const auto& dims = args.dims(name);
  if (shapes_agree(dims, expected)) return;
  args.fail(name, "expected " + std::string(name) + " of shape " + to_string(expected) + ", got " +
                      to_string(dims));
}

void check_list(const OpArgs& args, std::string_view name, std::size_t count) {
  if (!args.has(name)) return;
  const auto& dims = args.dims(name);
  const auto n = static_cast<std::int64_t>(count);
  if (dims.empty() && count == 1) return;
  if (dims.size() == 1 && dims_agree(dims[0], n)) return;
  args.fail(name, "expected " + std::to_string(count) + " values in " + std::string(name) +
                      ", got shape " + to_string(dims));
}

const std::string& choice(const OpArgs& args, std::string_view name,
                          std::initializer_list<std::string_view> choices) {
  const auto& text = args.text(name);
  if (std::find(choices.begin(), choices.end(), text) != choices.end()) return text;
  std::string wanted;
  for (const auto c : choices) wanted += (wanted.empty() ? "" : ", ") + std::string(c);
  std::vector<std::string_view> known(choices);
  const auto near = nearest_name(text, known);
  args.fail(name,
            "expected " + std::string(name) + " to be one of " + wanted + ", got \"" + text + "\"",
            near.empty() ? "" : "did you mean \"" + std::string(near) + "\"?");
}

DType named_dtype(const OpArgs& args, std::string_view name, std::initializer_list<DType> choices) {
  const auto& text = args.text(name);
  const auto dtype = dtype_from_name(text);
  if (dtype && std::find(choices.begin(), choices.end(), *dtype) != choices.end()) return *dtype;
  std::string wanted;
  for (const auto c : choices) wanted += (wanted.empty() ? "" : ", ") + std::string(dtype_name(c));
  args.fail(name,
            "expected " + std::string(name) + " to be one of " + wanted + ", got \"" + text + "\"");
}

std::int64_t positive(const OpArgs& args, std::string_view name) {
  const auto value = args.integer(name);
  if (value <= 0) {
    args.fail(name, "expected a positive " + std::string(name) + ", got " + std::to_string(value));
  }
  return value;
}

}  // namespace milane::mil
