#include "mil/diff.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <unordered_map>

#include "mil/align.h"
#include "mil/literal.h"
#include "mil/printer.h"

namespace milane::mil {
namespace {

// One of the two programs, looked at through the names of one function.
struct Side {
  std::unordered_map<std::string, const Operation*> producers;
  std::set<const Operation*> unpaired;

  void collect(const Block& block) {
    for (const auto& op : block.operations) {
      for (const auto& output : op->outputs) producers[output.name] = op.get();
      for (const auto& nested : op->blocks) collect(*nested);
    }
  }
  const Operation* producer(const std::string& name) const {
    const auto found = producers.find(name);
    return found == producers.end() ? nullptr : found->second;
  }
  // The constant behind an operand, written in place or by name; else nullptr.
  const Value* constant(const Operand& operand) const {
    if (!operand.is_name()) return operand.value.get();
    const auto* op = producer(operand.name);
    return op != nullptr && op->type == "const" ? op->attribute("val") : nullptr;
  }
};

std::string brief(const Value& v) {
  constexpr std::size_t kMost = 60;
  std::string text = v.is_blob() || v.data.size() <= 256 ? print(v, false) : to_string(v.type);
  return text.size() > kMost ? text.substr(0, kMost) + "..." : text;
}

// How two unequal constants differ.
std::string constant_text(const Value& a, const Value& b) {
  const bool elements = a.type == b.type && a.data.size() == b.data.size() && a.count() > 1 &&
                        !a.data.empty() && !a.is_blob() && !b.is_blob();
  if (!elements) return "a has " + brief(a) + ", b has " + brief(b);
  std::int64_t first = -1;
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < a.count(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (element_bits(a.type.dtype, a.data.data(), at) ==
        element_bits(b.type.dtype, b.data.data(), at)) {
      continue;
    }
    if (first < 0) first = i;
    ++count;
  }
  std::string text = std::to_string(count) + " of " + std::to_string(a.count()) + " elements of " +
                     to_string(a.type) + " differ, first at " + std::to_string(first) + ": a has ";
  append_element(text, a.type.dtype, a.data.data(), static_cast<std::size_t>(first));
  text += ", b has ";
  append_element(text, b.type.dtype, b.data.data(), static_cast<std::size_t>(first));
  return text;
}

template <class Item>
std::map<std::string_view, const Item*> by_name(const std::vector<Item>& items) {
  std::map<std::string_view, const Item*> result;
  for (const auto& item : items) result.emplace(item.name, &item);
  return result;
}

// Calls one(name, in a or null, in b or null) for every name on either side.
template <class Item, class One>
void pair_by_name(const std::vector<Item>& a, const std::vector<Item>& b, One&& one) {
  const auto in_a = by_name(a);
  const auto in_b = by_name(b);
  for (const auto& [name, item] : in_a) {
    const auto found = in_b.find(name);
    one(name, item, found == in_b.end() ? nullptr : found->second);
  }
  for (const auto& [name, item] : in_b) {
    if (!in_a.contains(name)) one(name, static_cast<const Item*>(nullptr), item);
  }
}

class Comparison {
 public:
  Comparison(std::string function, bool ops_only, std::vector<Difference>& out)
      : function_(std::move(function)), ops_only_(ops_only), out_(&out) {}

  void functions(const Function& a, const Function& b) {
    a_.collect(a.body);
    b_.collect(b.body);
    if (!ops_only_) {
      if (a.opset != b.opset) {
        add(-1, -1, "function", "opset: a has " + a.opset + ", b has " + b.opset);
      }
      attributes(a.attributes, b.attributes, -1, -1, "");
    }
    blocks(a.body, b.body, "");
  }

 private:
  void add(int index_a, int index_b, std::string kind, const std::string& text) {
    out_->push_back({function_, index_a, index_b, std::move(kind), function_ + ": " + text});
  }

  void blocks(const Block& a, const Block& b, const std::string& where);
  void inputs(const Block& a, const Block& b, const std::string& where);
  void outputs(const Block& a, const Block& b, const std::string& where);
  Pairs align(const Block& a, const Block& b, const std::vector<int>& ops_a,
              const std::vector<int>& ops_b);
  std::string rich_key(const Operation& op, const Side& side) const;
  void pair_results(const Operation& a, const Operation& b);
  void operations(const Operation& a, const Operation& b, int ia, int ib, const std::string& where);
  void operands(const Argument& a, const Argument& b, int ia, int ib, const std::string& where);
  void attributes(const std::vector<Attribute>& a, const std::vector<Attribute>& b, int ia, int ib,
                  const std::string& where);
  bool same_value(const std::string& a, const std::string& b) const;
  std::string origin(const Operand& operand, const Side& side) const;

  std::string function_;
  bool ops_only_;
  std::vector<Difference>* out_;
  Side a_, b_;
  std::unordered_map<std::string, std::string> counterpart_;  // a's name of a value to b's
};

// Whether a's value corresponds to b's, looking through operations that have no partner.
bool Comparison::same_value(const std::string& a, const std::string& b) const {
  std::vector<std::pair<std::string, std::string>> open{{a, b}};
  std::set<std::pair<std::string, std::string>> seen(open.begin(), open.end());
  constexpr std::size_t kMost = 10000;
  while (!open.empty() && seen.size() < kMost) {
    const auto [x, y] = open.back();
    open.pop_back();
    const auto found = counterpart_.find(x);
    if (found != counterpart_.end() && found->second == y) return true;
    const auto through = [&](const Side& side, const std::string& name, bool is_a) {
      const auto* op = side.producer(name);
      if (op == nullptr || !side.unpaired.contains(op)) return;
      for (const auto& argument : op->arguments) {
        for (const auto& operand : argument.operands) {
          if (!operand.is_name()) continue;
          auto next = is_a ? std::pair{operand.name, y} : std::pair{x, operand.name};
          if (seen.insert(next).second) open.push_back(std::move(next));
        }
      }
    };
    through(a_, x, true);
    through(b_, y, false);
  }
  return false;
}

std::string Comparison::origin(const Operand& operand, const Side& side) const {
  if (const auto* value = side.constant(operand)) return brief(*value);
  const auto* op = side.producer(operand.name);
  return operand.name + (op == nullptr ? " (an input)" : " (from " + op->type + ")");
}

// Type, result types and constants: operations that agree in all of it are the same ones first.
std::string Comparison::rich_key(const Operation& op, const Side& side) const {
  std::string key = op.type;
  for (const auto& output : op.outputs) key += '|' + to_string(output.type);
  for (const auto& [name, argument] : by_name(op.arguments)) {
    key += '|';
    key += name;
    for (const auto& operand : argument->operands) {
      const auto* value = side.constant(operand);
      key += value == nullptr ? "=" : "=" + brief(*value);
    }
  }
  return key;
}

Pairs Comparison::align(const Block& a, const Block& b, const std::vector<int>& ops_a,
                        const std::vector<int>& ops_b) {
  std::unordered_map<std::string, int> numbers;
  const auto key_of = [&](const std::string& key) {
    return numbers.emplace(key, static_cast<int>(numbers.size())).first->second;
  };
  const auto op_of = [](const Block& block, int i) -> const Operation& {
    return *block.operations[static_cast<std::size_t>(i)];
  };
  const auto keys = [&](const Block& block, const std::vector<int>& ops, const Side& side) {
    std::vector<int> result;
    for (const int i : ops) result.push_back(key_of(rich_key(op_of(block, i), side)));
    return result;
  };
  const auto types = [&](const Block& block, const std::vector<int>& ops, int from, int to) {
    std::vector<int> result;
    for (int i = from; i < to; ++i) {
      result.push_back(key_of(op_of(block, ops[static_cast<std::size_t>(i)]).type));
    }
    return result;
  };
  // Between anchors that agree in everything, pair what agrees at least in its type.
  Pairs result;
  Pairs anchors = mil::align(keys(a, ops_a, a_), keys(b, ops_b, b_));
  anchors.emplace_back(static_cast<int>(ops_a.size()), static_cast<int>(ops_b.size()));
  int from_a = 0;
  int from_b = 0;
  for (const auto& [to_a, to_b] : anchors) {
    const auto gap_a = types(a, ops_a, from_a, to_a);
    const auto gap_b = types(b, ops_b, from_b, to_b);
    for (const auto& [x, y] : mil::align(gap_a, gap_b)) {
      result.emplace_back(from_a + x, from_b + y);
    }
    result.emplace_back(to_a, to_b);
    from_a = to_a + 1;
    from_b = to_b + 1;
  }
  return result;  // ends with the pair of the two ends
}

void Comparison::pair_results(const Operation& a, const Operation& b) {
  for (std::size_t i = 0; i < std::min(a.outputs.size(), b.outputs.size()); ++i) {
    counterpart_[a.outputs[i].name] = b.outputs[i].name;
  }
}

void Comparison::blocks(const Block& a, const Block& b, const std::string& where) {
  const auto computing = [](const Block& block) {
    std::vector<int> result;
    for (std::size_t i = 0; i < block.operations.size(); ++i) {
      if (block.operations[i]->type != "const") result.push_back(static_cast<int>(i));
    }
    return result;
  };
  const auto ops_a = computing(a);
  const auto ops_b = computing(b);
  inputs(a, b, where);
  const auto pairs = align(a, b, ops_a, ops_b);
  const auto index = [](const std::vector<int>& ops, int i) {
    return ops[static_cast<std::size_t>(i)];
  };
  const auto op_of = [](const Block& block, int i) -> const Operation& {
    return *block.operations[static_cast<std::size_t>(i)];
  };
  int x = 0;
  int y = 0;
  // Every partner is known before operands are compared: a loop's blocks may look ahead.
  for (const auto& [to_x, to_y] : pairs) {
    for (; x < to_x && y < to_y; ++x, ++y) {
      pair_results(op_of(a, index(ops_a, x)), op_of(b, index(ops_b, y)));
    }
    for (; x < to_x; ++x) a_.unpaired.insert(&op_of(a, index(ops_a, x)));
    for (; y < to_y; ++y) b_.unpaired.insert(&op_of(b, index(ops_b, y)));
    if (to_x < static_cast<int>(ops_a.size())) {
      pair_results(op_of(a, index(ops_a, x++)), op_of(b, index(ops_b, y++)));
    }
  }
  x = y = 0;
  for (const auto& [to_x, to_y] : pairs) {
    for (; x < to_x && y < to_y; ++x, ++y) {
      const int ia = index(ops_a, x);
      const int ib = index(ops_b, y);
      add(ia, ib, "replaced",
          where + "a has " + op_of(a, ia).type + " at " + std::to_string(ia) + ", b has " +
              op_of(b, ib).type + " at " + std::to_string(ib));
    }
    for (; x < to_x; ++x) {
      const int ia = index(ops_a, x);
      add(ia, -1, "removed",
          where + "a has " + op_of(a, ia).type + " at " + std::to_string(ia) + ", b has not");
    }
    for (; y < to_y; ++y) {
      const int ib = index(ops_b, y);
      add(-1, ib, "inserted",
          where + "b has " + op_of(b, ib).type + " at " + std::to_string(ib) + ", a has not");
    }
    if (to_x < static_cast<int>(ops_a.size())) {
      const int ia = index(ops_a, x++);
      const int ib = index(ops_b, y++);
      operations(op_of(a, ia), op_of(b, ib), ia, ib, where);
    }
  }
  outputs(a, b, where);
}

// Inputs are paired by name when both sides use the same names, else by position.
void Comparison::inputs(const Block& a, const Block& b, const std::string& where) {
  const auto names_a = by_name(a.inputs);
  const auto names_b = by_name(b.inputs);
  const bool same_names =
      std::equal(names_a.begin(), names_a.end(), names_b.begin(), names_b.end(),
                 [](const auto& p, const auto& q) { return p.first == q.first; });
  for (std::size_t i = 0; i < std::min(a.inputs.size(), b.inputs.size()); ++i) {
    const auto& in_a = a.inputs[i];
    const auto& in_b = same_names ? *names_b.at(in_a.name) : b.inputs[i];
    counterpart_[in_a.name] = in_b.name;
    if (!ops_only_ && in_a.type != in_b.type) {
      add(-1, -1, "inputs",
          where + "input " + in_a.name + ": a has " + to_string(in_a.type) + ", b has " +
              to_string(in_b.type));
    }
  }
  if (!ops_only_ && a.inputs.size() != b.inputs.size()) {
    add(-1, -1, "inputs",
        where + "a has " + std::to_string(a.inputs.size()) + " inputs, b has " +
            std::to_string(b.inputs.size()));
  }
}

void Comparison::outputs(const Block& a, const Block& b, const std::string& where) {
  if (ops_only_) return;
  if (a.outputs.size() != b.outputs.size()) {
    add(-1, -1, "outputs",
        where + "a has " + std::to_string(a.outputs.size()) + " outputs, b has " +
            std::to_string(b.outputs.size()));
    return;
  }
  for (std::size_t i = 0; i < a.outputs.size(); ++i) {
    const auto* value_a = a_.constant(a.outputs[i]);
    const auto* value_b = b_.constant(b.outputs[i]);
    const bool same = value_a != nullptr && value_b != nullptr
                          ? *value_a == *value_b
                          : same_value(a.outputs[i].name, b.outputs[i].name);
    if (same) continue;
    add(-1, -1, "outputs",
        where + "output " + std::to_string(i) + ": a has " + origin(a.outputs[i], a_) + ", b has " +
            origin(b.outputs[i], b_));
  }
}

void Comparison::operations(const Operation& a, const Operation& b, int ia, int ib,
                            const std::string& where) {
  const std::string here = where + "op " + std::to_string(ia) + " (" + a.type + "): ";
  if (!ops_only_) {
    pair_by_name(a.arguments, b.arguments,
                 [&](std::string_view name, const Argument* in_a, const Argument* in_b) {
                   if (in_a != nullptr && in_b != nullptr) {
                     operands(*in_a, *in_b, ia, ib, here);
                   } else {
                     add(ia, ib, "argument",
                         here + "argument " + std::string(name) + ": only " +
                             (in_a != nullptr ? "a" : "b") + " has it");
                   }
                 });
    attributes(a.attributes, b.attributes, ia, ib, here);
    for (std::size_t i = 0; i < std::min(a.outputs.size(), b.outputs.size()); ++i) {
      if (a.outputs[i].type == b.outputs[i].type) continue;
      add(ia, ib, "type",
          here + "result " + std::to_string(i) + ": a has " + to_string(a.outputs[i].type) +
              ", b has " + to_string(b.outputs[i].type));
    }
    if (a.outputs.size() != b.outputs.size()) {
      add(ia, ib, "type",
          here + "a has " + std::to_string(a.outputs.size()) + " results, b has " +
              std::to_string(b.outputs.size()));
    }
    if (a.opset != b.opset) {
      add(ia, ib, "type", here + "opset: a has '" + a.opset + "', b has '" + b.opset + "'");
    }
  }
  if (a.blocks.size() != b.blocks.size()) {
    add(ia, ib, "block",
        here + "a has " + std::to_string(a.blocks.size()) + " blocks, b has " +
            std::to_string(b.blocks.size()));
  }
  for (std::size_t i = 0; i < std::min(a.blocks.size(), b.blocks.size()); ++i) {
    blocks(*a.blocks[i], *b.blocks[i], here + "block " + std::to_string(i) + ": ");
  }
}

void Comparison::operands(const Argument& a, const Argument& b, int ia, int ib,
                          const std::string& where) {
  const std::string here = where + "argument " + a.name + ": ";
  if (a.operands.size() != b.operands.size()) {
    add(ia, ib, "argument",
        here + "a has " + std::to_string(a.operands.size()) + " values, b has " +
            std::to_string(b.operands.size()));
    return;
  }
  for (std::size_t i = 0; i < a.operands.size(); ++i) {
    const auto* value_a = a_.constant(a.operands[i]);
    const auto* value_b = b_.constant(b.operands[i]);
    if (value_a != nullptr && value_b != nullptr) {
      if (*value_a == *value_b) continue;
      add(ia, ib, "constant", here + constant_text(*value_a, *value_b));
    } else if (value_a != nullptr || value_b != nullptr ||
               !same_value(a.operands[i].name, b.operands[i].name)) {
      add(ia, ib, "argument",
          here + "a has " + origin(a.operands[i], a_) + ", b has " + origin(b.operands[i], b_));
    }
  }
}

void Comparison::attributes(const std::vector<Attribute>& a, const std::vector<Attribute>& b,
                            int ia, int ib, const std::string& where) {
  pair_by_name(a, b, [&](std::string_view name, const Attribute* in_a, const Attribute* in_b) {
    if (name == "name") return;
    const std::string here = where + "attribute " + std::string(name) + ": ";
    if (in_a == nullptr || in_b == nullptr) {
      add(ia, ib, "attribute", here + "only " + (in_a != nullptr ? "a" : "b") + " has it");
    } else if (!(in_a->value == in_b->value)) {
      add(ia, ib, "attribute", here + constant_text(in_a->value, in_b->value));
    }
  });
}

}  // namespace

std::vector<Difference> diff(const Program& a, const Program& b, bool ops_only) {
  std::vector<Difference> result;
  const auto missing = [&](const std::string& name, const char* has, const char* has_not) {
    result.push_back({name, -1, -1, "function",
                      name + ": " + has + " has this function, " + has_not + " has not"});
  };
  for (const auto& f : a.functions) {
    if (const auto* other = b.function(f->name)) {
      Comparison(f->name, ops_only, result).functions(*f, *other);
    } else {
      missing(f->name, "a", "b");
    }
  }
  for (const auto& f : b.functions) {
    if (a.function(f->name) == nullptr) missing(f->name, "b", "a");
  }
  return result;
}

}  // namespace milane::mil
