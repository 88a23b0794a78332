// Shape and type inference: one rule per operation, over types and whatever values are known.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mil/program.h"
#include "mil/schema.h"

namespace milane::mil {

// A constant's bytes in blob encoding, wherever they live (inline value, mapped file, folded
// result).
struct ConstView {
  DType dtype = DType::kFp16;
  Dims dims;
  const std::byte* data = nullptr;
  const std::vector<std::string>* strings = nullptr;  // string constants

  std::int64_t count() const { return element_count(dims); }
  std::int64_t integer(std::int64_t i = 0) const;  // whole-byte integers, bool and sub-byte types
  double number(std::int64_t i = 0) const;         // any numeric type
  const std::string& text() const;                 // scalar string
};

// A view onto a tensor value written in place; not for blobs, tuples, lists and dicts.
ConstView const_view(const Value& value);

// What is known of one operand: its type (dims may be unknown) and its bytes when constant.
struct ArgInfo {
  Type type;
  const ConstView* value = nullptr;
  Location location;
  bool constant =
      false;  // known when the program is compiled, even where `value` is not yet at hand
};

// The operands of one argument, in order. The name is the operation's own.
struct ArgOperands {
  std::string_view name;
  std::vector<ArgInfo> operands;
};

inline const ArgOperands* find_argument(const std::vector<ArgOperands>& all,
                                        std::string_view name) {
  for (const auto& argument : all) {
    if (argument.name == name) return &argument;
  }
  return nullptr;
}

// An operation's arguments matched with its schema. Also read by the host's op functions.
// Every getter throws Error(kVerify) that names file:line:column, the operation and the argument.
class OpArgs {
 public:
  // `arguments` holds those of the operation that are present.
  // Attributes of constexpr operations (ios16 form) appear here exactly like arguments.
  // `owner` keeps alive whatever their values point into, where nothing else does.
  OpArgs(const Program& program, const Operation& operation, const OpSchema& schema,
         std::vector<ArgOperands> arguments, std::shared_ptr<const void> owner = nullptr);

  const Operation& operation() const { return *operation_; }
  const OpSchema& schema() const { return *schema_; }

  // Written in the text.
  bool has(std::string_view name) const { return find_argument(arguments_, name) != nullptr; }
  const ArgInfo& get(std::string_view name) const;             // the only operand
  std::span<const ArgInfo> list(std::string_view name) const;  // all operands (tuple or one)
  const Type& type(std::string_view name) const { return get(name).type; }
  // The shape with leading checks left to the caller.
  const Dims& dims(std::string_view name) const { return get(name).type.dims; }
  // The constant's bytes, or nullptr when the operand is absent or only known at run time.
  const ConstView* value(std::string_view name) const;

  // Constant scalars and lists: the written constant, else the schema's default.
  // Absent without default, or not constant: an error. `known()` tells beforehand.
  bool known(std::string_view name) const;
  std::int64_t integer(std::string_view name) const;
  double number(std::string_view name) const;
  bool boolean(std::string_view name) const;
  const std::string& text(std::string_view name) const;
  Dims integers(std::string_view name) const;  // a scalar gives one
  std::vector<bool> booleans(std::string_view name) const;
  // The list, or `n` times `otherwise` when the argument is absent.
  Dims integers_or(std::string_view name, std::size_t n, std::int64_t otherwise) const;
  std::vector<bool> booleans_or(std::string_view name, std::size_t n, bool otherwise) const;

  // `axis` in [-rank, rank) made non-negative; an error otherwise.
  std::int64_t axis(std::string_view name, std::size_t rank) const;
  Dims axes(std::string_view name, std::size_t rank) const;

  // Throws: "<where>: <op>: <message>", pointing at the argument when it is written.
  // `operand` picks one of a tuple's.
  [[noreturn]] void fail(std::string_view argument, const std::string& message,
                         const std::string& hint = {}, std::size_t operand = 0) const;

 private:
  ConstView constant(std::string_view name) const;
  ConstView scalar(std::string_view name) const;
  std::int64_t checked_axis(std::string_view name, std::int64_t axis, std::size_t rank) const;

  const Program* program_;
  const Operation* operation_;
  const OpSchema* schema_;
  std::vector<ArgOperands> arguments_;
  std::shared_ptr<const void> owner_;
};

// Output types of one operation whose argument types are `args`.
std::vector<Type> infer(const OpArgs& args);

// Matches an operation with its schema: unknown operation or argument, missing required argument,
// wrong count, wrong dtype, non-constant where a constant is needed. Throws Error(kVerify).
// `lookup` gives the info of a named operand, and throws for an unknown name itself.
OpArgs resolve(const Program& program, const Operation& operation,
               const std::function<ArgInfo(const Operand&)>& lookup);

// NumPy broadcasting with unknown dimensions; false when the shapes do not fit.
bool broadcast_dims(const Dims& a, const Dims& b, Dims* out);
// Whether a declared type may stand where `inferred` was computed: unknown dims match anything.
bool compatible(const Type& declared, const Type& inferred);

}  // namespace milane::mil
