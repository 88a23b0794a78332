// The program: what MIL text says, ready to be walked, edited, verified, printed and compiled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mil/type.h"

namespace milane::mil {

// Where in the text, 1-based; 0 when the thing was made by a program.
struct Location {
  int line = 0;
  int column = 0;
};

// A literal with its type. Exactly one of data / strings / members / blob is meaningful:
//   numeric or bool tensor   data: elements in blob encoding (bool one byte, sub-byte types packed)
//   string tensor            strings
//   tuple, list              members; dict: members are key, value, key, value, ...
//   BLOBFILE(...)            blob_path + blob_offset (of the record, corpus README section 5)
struct Value {
  Type type;
  std::vector<std::byte> data;
  std::vector<std::string> strings;
  std::vector<Value> members;
  std::string blob_path;  // as written: "@model_path/weights/weight.bin"
  std::uint64_t blob_offset = 0;
  Location location;

  bool is_blob() const { return !blob_path.empty(); }

  static Value string(std::string s);
  static Value boolean(bool b);
  static Value int32(std::int32_t v);
  static Value int32_list(const Dims& v);
  static Value scalar(DType dtype, double v);  // rounded to dtype

  // Element i of a numeric tensor value, widened exactly (int64 beyond 2^53 excepted).
  double number(std::size_t i = 0) const;
  std::int64_t integer(std::size_t i = 0) const;
  // Elements; where the type has a `?`, those that are stored.
  std::int64_t count() const;

  bool operator==(const Value& o) const {
    return type == o.type && data == o.data && strings == o.strings && members == o.members &&
           blob_path == o.blob_path && blob_offset == o.blob_offset;
  }
};

// What an argument refers to: a name defined before, or a value written in place.
struct Operand {
  std::string name;              // empty when inline
  std::shared_ptr<Value> value;  // null when named
  Location location;

  bool is_name() const { return value == nullptr; }
};

struct Argument {
  std::string name;
  std::vector<Operand> operands;
  bool is_tuple = false;  // written `values = (a, b)`
  Location location;
};

struct Attribute {
  std::string name;
  Value value;
};

struct NamedType {
  std::string name;
  Type type;
  Location location;
};

struct Block;

// `type a, type b = op<opset>(args)[attributes]`, with nested blocks for cond and while_loop.
struct Operation {
  std::string type;   // "matmul"
  std::string opset;  // only where the text gives one on the operation
  std::vector<NamedType> outputs;
  std::vector<Argument> arguments;
  std::vector<Attribute> attributes;
  std::vector<std::shared_ptr<Block>> blocks;
  Location location;  // of the operation's name

  const Argument* argument(std::string_view name) const;
  const Value* attribute(std::string_view name) const;
  Operation clone() const;
};
using OperationPtr = std::shared_ptr<Operation>;

// Parameters, statements, results. The body of a function, and of a nested region.
struct Block {
  std::vector<NamedType> inputs;
  std::vector<OperationPtr> operations;
  std::vector<Operand> outputs;  // always names
};

struct Function {
  std::string name;
  std::string opset;  // "ios18"
  std::vector<Attribute> attributes;
  Block body;
  Location location;

  const Value* attribute(std::string_view name) const;
};
using FunctionPtr = std::shared_ptr<Function>;

struct Program {
  std::string version = "1.3";  // "1.0": canonical scalars; "1.3": short ones
  std::vector<Attribute> attributes;
  std::vector<FunctionPtr> functions;
  std::string source_name = "<text>";  // for messages: the file's name
  std::string source;                  // the text, for messages; empty when built

  // program(1.0) spells a scalar `tensor<fp16, []>`; later versions spell it `fp16`.
  bool canonical_scalars() const;
  const Function* function(std::string_view name) const;
  std::shared_ptr<Program> clone() const;
};
using ProgramPtr = std::shared_ptr<Program>;

// Whether text may use this spelling for a function, value or argument name.
bool is_identifier(std::string_view name);

}  // namespace milane::mil
