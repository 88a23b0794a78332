// Equality of programs, for diff.h.
#include <algorithm>

#include "mil/diff.h"

namespace milane::mil {
namespace {

bool equal(const std::vector<Attribute>& a, const std::vector<Attribute>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Attribute& p, const Attribute& q) {
                      return p.name == q.name && p.value == q.value;
                    });
}

bool equal(const std::vector<NamedType>& a, const std::vector<NamedType>& b) {
  return std::equal(
      a.begin(), a.end(), b.begin(), b.end(),
      [](const NamedType& p, const NamedType& q) { return p.name == q.name && p.type == q.type; });
}

bool equal(const std::vector<Operand>& a, const std::vector<Operand>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Operand& p, const Operand& q) {
    if (p.is_name() || q.is_name()) return p.is_name() && q.is_name() && p.name == q.name;
    return *p.value == *q.value;
  });
}

bool equal(const Block& a, const Block& b) {
  return equal(a.inputs, b.inputs) && equal(a.outputs, b.outputs) &&
         std::equal(a.operations.begin(), a.operations.end(), b.operations.begin(),
                    b.operations.end(), [](const OperationPtr& p, const OperationPtr& q) {
                      return milane::mil::equal(*p, *q);
                    });
}

}  // namespace

bool equal(const Operation& a, const Operation& b) {
  // The order of arguments and attributes is not printed, so it does not count here.
  const auto sorted = [](auto items) {
    std::stable_sort(items.begin(), items.end(),
                     [](const auto& p, const auto& q) { return p.name < q.name; });
    return items;
  };
  const auto arguments_a = sorted(a.arguments);
  const auto arguments_b = sorted(b.arguments);
  return a.type == b.type && a.opset == b.opset && equal(a.outputs, b.outputs) &&
         std::equal(arguments_a.begin(), arguments_a.end(), arguments_b.begin(), arguments_b.end(),
                    [](const Argument& p, const Argument& q) {
                      return p.name == q.name && p.is_tuple == q.is_tuple &&
                             equal(p.operands, q.operands);
                    }) &&
         equal(sorted(a.attributes), sorted(b.attributes)) &&
         std::equal(a.blocks.begin(), a.blocks.end(), b.blocks.begin(), b.blocks.end(),
                    [](const auto& p, const auto& q) { return equal(*p, *q); });
}

bool equal(const Program& a, const Program& b) {
  return a.version == b.version && equal(a.attributes, b.attributes) &&
         std::equal(a.functions.begin(), a.functions.end(), b.functions.begin(), b.functions.end(),
                    [](const FunctionPtr& p, const FunctionPtr& q) {
                      return p->name == q->name && p->opset == q->opset &&
                             equal(p->attributes, q->attributes) && equal(p->body, q->body);
                    });
}

}  // namespace milane::mil
