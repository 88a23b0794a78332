#include "mil/printer.h"

#include <algorithm>

#include "mil/literal.h"

namespace milane::mil {
namespace {

constexpr std::size_t kStatementIndent = 12;
constexpr std::size_t kBlockStep = 8;

class Printer {
 public:
  explicit Printer(bool canonical) : canonical_(canonical) {}

  void program(const Program& program);
  void value(const Value& v);
  void operation(const Operation& op, std::size_t indent);
  std::string take() { return std::move(out_); }

 private:
  // Items in the order of their names, as coremlc writes arguments and attributes.
  template <class Item, class One>
  void by_name(const std::vector<Item>& items, One&& one);
  void type(const Type& type) { out_ += to_string(type, canonical_); }
  void spaces(std::size_t n) { out_.append(n, ' '); }
  void literal(const Value& v, bool in_dict);
  void blob(const Value& v);
  void elements(const Value& v, const Dims& dims, std::size_t level, std::size_t& next,
                bool in_dict);
  void attributes(const std::vector<Attribute>& list);
  void named_types(const std::vector<NamedType>& list);
  void outputs(const std::vector<Operand>& list);
  void operand(const Operand& operand);
  void nested_block(const Block& block, std::size_t indent);
  void function(const Function& function);

  bool canonical_;
  std::string out_;
};

template <class Item, class One>
void Printer::by_name(const std::vector<Item>& items, One&& one) {
  const auto less = [](const Item* a, const Item* b) { return a->name < b->name; };
  std::vector<const Item*> sorted;
  sorted.reserve(items.size());
  for (const auto& item : items) sorted.push_back(&item);
  std::stable_sort(sorted.begin(), sorted.end(), less);
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    if (i) out_ += ", ";
    out_ += sorted[i]->name;
    out_ += " = ";
    one(*sorted[i]);
  }
}

void Printer::value(const Value& v) {
  type(v.type);
  out_ += '(';
  if (v.is_blob()) {
    blob(v);
  } else {
    literal(v, false);
  }
  out_ += ')';
}

void Printer::blob(const Value& v) {
  out_ += "BLOBFILE(path = ";
  type(Type::tensor(DType::kString));
  out_ += '(';
  append_string(out_, v.blob_path);
  out_ += "), offset = ";
  type(Type::tensor(DType::kUInt64));
  out_ += '(' + std::to_string(v.blob_offset) + "))";
}

void Printer::literal(const Value& v, bool in_dict) {
  if (v.is_blob()) {
    blob(v);
    return;
  }
  const auto members = [&](std::size_t step, auto&& one) {
    for (std::size_t i = 0; i + step <= v.members.size(); i += step) {
      if (i) out_ += ", ";
      one(i);
    }
  };
  switch (v.type.kind) {
    case Type::Kind::kTensor: {
      Dims dims = v.type.dims;
      std::int64_t known = 1;
      for (const auto d : dims) known *= d == kUnknownDim ? 1 : d;
      for (auto& d : dims) {
        if (d == kUnknownDim) d = v.count() / std::max<std::int64_t>(known, 1);
      }
      std::size_t next = 0;
      elements(v, dims, 0, next, in_dict);
      break;
    }
    case Type::Kind::kDict:
      out_ += '{';
      members(2, [&](std::size_t i) {
        out_ += '{';
        literal(v.members[i], false);
        out_ += ", ";
        literal(v.members[i + 1], true);
        out_ += '}';
      });
      out_ += '}';
      break;
    case Type::Kind::kList:
    case Type::Kind::kTuple: {
      const bool list = v.type.kind == Type::Kind::kList;
      out_ += list ? '[' : '(';
      members(1, [&](std::size_t i) { literal(v.members[i], false); });
      out_ += list ? ']' : ')';
      break;
    }
    default:
      break;  // states and buffers have no literals
  }
}

void Printer::elements(const Value& v, const Dims& dims, std::size_t level, std::size_t& next,
                       bool in_dict) {
  if (level == dims.size()) {
    if (v.type.dtype == DType::kString) {
      append_string(out_, v.strings.at(next));
    } else if (v.type.dtype == DType::kFp64 && in_dict) {
      append_decimal_float(out_, v.number(next));  // the one place where coremlc writes decimals
    } else {
      append_element(out_, v.type.dtype, v.data.data(), next);
    }
    ++next;
    return;
  }
  out_ += '[';
  for (std::int64_t i = 0; i < dims[level]; ++i) {
    if (i) out_ += ", ";
    elements(v, dims, level + 1, next, in_dict);
  }
  out_ += ']';
}

void Printer::attributes(const std::vector<Attribute>& list) {
  out_ += '[';
  by_name(list, [&](const Attribute& a) { value(a.value); });
  out_ += ']';
}

void Printer::named_types(const std::vector<NamedType>& list) {
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (i) out_ += ", ";
    type(list[i].type);
    out_ += ' ';
    out_ += list[i].name;
  }
}

void Printer::outputs(const std::vector<Operand>& list) {
  out_ += "} -> (";
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (i) out_ += ", ";
    out_ += list[i].name;
  }
  out_ += ')';
}

void Printer::operand(const Operand& operand) {
  if (operand.is_name()) {
    out_ += operand.name;
  } else {
    value(*operand.value);
  }
}

void Printer::operation(const Operation& op, std::size_t indent) {
  named_types(op.outputs);
  if (!op.outputs.empty()) out_ += " = ";
  out_ += op.type;
  if (!op.opset.empty()) out_ += '<' + op.opset + '>';
  out_ += '(';
  by_name(op.arguments, [&](const Argument& a) {
    const bool tuple = a.is_tuple || a.operands.size() != 1;
    if (tuple) out_ += '(';
    for (std::size_t i = 0; i < a.operands.size(); ++i) {
      if (i) out_ += ", ";
      operand(a.operands[i]);
    }
    if (tuple) out_ += ')';
  });
  out_ += ')';
  if (!op.attributes.empty()) attributes(op.attributes);
  for (const auto& block : op.blocks) {
    out_ += '\n';
    nested_block(*block, indent);
  }
  out_ += ';';
}

void Printer::nested_block(const Block& block, std::size_t indent) {
  spaces(indent);
  out_ += '(';
  named_types(block.inputs);
  out_ += ") {\n";
  for (const auto& op : block.operations) {
    spaces(indent + kBlockStep);
    operation(*op, indent + kBlockStep);
    out_ += '\n';
  }
  spaces(indent + kBlockStep / 2);
  outputs(block.outputs);
}

void Printer::function(const Function& function) {
  out_ += "    func " + function.name + '<' + function.opset + ">(";
  named_types(function.body.inputs);
  out_ += ") ";
  if (!function.attributes.empty()) {
    attributes(function.attributes);
    out_ += ' ';
  }
  out_ += "{\n";
  for (const auto& op : function.body.operations) {
    spaces(kStatementIndent);
    operation(*op, kStatementIndent);
    out_ += '\n';
  }
  out_ += "        ";
  outputs(function.body.outputs);
  out_ += ";\n";
}

void Printer::program(const Program& program) {
  out_.reserve(program.source.size() + 256);
  out_ += "program(" + program.version + ")\n";
  if (!program.attributes.empty()) {
    attributes(program.attributes);
    out_ += '\n';
  }
  out_ += "{\n";
  for (const auto& f : program.functions) function(*f);
  out_ += '}';
}

}  // namespace

std::string print(const Program& program) {
  Printer printer(program.canonical_scalars());
  printer.program(program);
  return printer.take();
}

std::string print(const Value& value, bool canonical_scalars) {
  Printer printer(canonical_scalars);
  printer.value(value);
  return printer.take();
}

std::string print(const Operation& operation, bool canonical_scalars) {
  Printer printer(canonical_scalars);
  printer.operation(operation, 0);
  return printer.take();
}

}  // namespace milane::mil
