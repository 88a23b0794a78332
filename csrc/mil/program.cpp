#include "mil/program.h"

#include "mil/literal.h"

namespace milane::mil {

Value Value::string(std::string s) {
  Value v;
  v.type = Type::tensor(DType::kString);
  v.strings.push_back(std::move(s));
  return v;
}

Value Value::boolean(bool b) {
  Value v;
  v.type = Type::tensor(DType::kBool);
  v.data.push_back(static_cast<std::byte>(b ? 1 : 0));
  return v;
}

Value Value::int32(std::int32_t number) {
  Value v;
  v.type = Type::tensor(DType::kInt32);
  ElementWriter(DType::kInt32, v.data).put(static_cast<std::uint32_t>(number));
  return v;
}

Value Value::int32_list(const Dims& numbers) {
  Value v;
  v.type = Type::tensor(DType::kInt32, {static_cast<std::int64_t>(numbers.size())});
  v.data.reserve(numbers.size() * 4);
  ElementWriter writer(DType::kInt32, v.data);
  for (const auto n : numbers) writer.put(static_cast<std::uint64_t>(n));
  return v;
}

Value Value::scalar(DType dtype, double number) {
  Value v;
  v.type = Type::tensor(dtype);
  ElementWriter writer(dtype, v.data);
  if (dtype == DType::kBool) {
    writer.put(number != 0 ? 1 : 0);
  } else if (is_float(dtype)) {
    writer.put(float_to_bits(dtype, number));
  } else if (number < 0) {
    writer.put(static_cast<std::uint64_t>(static_cast<std::int64_t>(number)));
  } else {
    writer.put(static_cast<std::uint64_t>(number));
  }
  return v;
}

double Value::number(std::size_t i) const {
  if (is_float(type.dtype)) {
    return float_from_bits(type.dtype, element_bits(type.dtype, data.data(), i));
  }
  if (type.dtype == DType::kUInt64) {
    return static_cast<double>(element_bits(type.dtype, data.data(), i));
  }
  return static_cast<double>(element_integer(type.dtype, data.data(), i));
}

std::int64_t Value::integer(std::size_t i) const {
  if (is_float(type.dtype)) return static_cast<std::int64_t>(number(i));
  return element_integer(type.dtype, data.data(), i);
}

std::int64_t Value::count() const {
  if (is_static(type.dims)) return element_count(type.dims);
  if (type.dtype == DType::kString) return static_cast<std::int64_t>(strings.size());
  return static_cast<std::int64_t>(data.size() * 8 /
                                   static_cast<std::size_t>(dtype_bits(type.dtype)));
}

const Argument* Operation::argument(std::string_view wanted) const {
  for (const auto& a : arguments) {
    if (a.name == wanted) return &a;
  }
  return nullptr;
}

const Value* Operation::attribute(std::string_view wanted) const {
  for (const auto& a : attributes) {
    if (a.name == wanted) return &a.value;
  }
  return nullptr;
}

Operation Operation::clone() const {
  Operation copy = *this;
  for (auto& argument : copy.arguments) {
    for (auto& operand : argument.operands) {
      if (operand.value) operand.value = std::make_shared<Value>(*operand.value);
    }
  }
  for (auto& block : copy.blocks) {
    block = std::make_shared<Block>(*block);
    for (auto& op : block->operations) op = std::make_shared<Operation>(op->clone());
  }
  return copy;
}

const Value* Function::attribute(std::string_view wanted) const {
  for (const auto& a : attributes) {
    if (a.name == wanted) return &a.value;
  }
  return nullptr;
}

bool Program::canonical_scalars() const { return version == "1.0"; }

const Function* Program::function(std::string_view wanted) const {
  for (const auto& f : functions) {
    if (f->name == wanted) return f.get();
  }
  return nullptr;
}

std::shared_ptr<Program> Program::clone() const {
  auto copy = std::make_shared<Program>(*this);
  for (auto& function : copy->functions) {
    function = std::make_shared<Function>(*function);
    for (auto& op : function->body.operations) op = std::make_shared<Operation>(op->clone());
  }
  return copy;
}

}  // namespace milane::mil
