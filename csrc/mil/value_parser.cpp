#include "mil/value_parser.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "mil/schema.h"

namespace milane::mil {
namespace {

// What a misspelt or foreign type name probably means.
std::string type_hint(std::string_view name) {
  static constexpr std::pair<std::string_view, std::string_view> kForeign[]{
      {"float16", "fp16"}, {"half", "fp16"},     {"float", "fp32"},  {"float32", "fp32"},
      {"f16", "fp16"},     {"f32", "fp32"},      {"double", "fp64"}, {"float64", "fp64"},
      {"int", "int32"},    {"bfloat16", "bf16"}, {"str", "string"},  {"boolean", "bool"},
      {"i32", "int32"},    {"i8", "int8"}};
  for (const auto& [foreign, ours] : kForeign) {
    if (name == foreign) return "write " + std::string(ours);
  }
  std::vector<std::string_view> known{"tensor", "list", "tuple", "dict", "state", "tensor_buffer"};
  for (int i = 0; i < kDTypeCount; ++i) known.push_back(dtype_name(static_cast<DType>(i)));
  const std::string_view best = nearest_name(name, known);
  return best.empty() ? "" : "did you mean " + std::string(best) + "?";
}

std::string ordinal_elements(std::int64_t n) {
  return std::to_string(n) + (n == 1 ? " element" : " elements");
}

}  // namespace

bool is_type_keyword(std::string_view name) {
  return name == "tensor" || name == "list" || name == "tuple" || name == "dict" ||
         name == "state" || name == "tensor_buffer";
}

Type ValueParser::type() {
  const Location at = lex_.here();
  return type_named(lex_.identifier("a type"), at);
}

Type ValueParser::type_named(std::string_view name, Location at) {
  if (!is_type_keyword(name)) {
    if (const auto dtype = dtype_from_name(name)) return Type::tensor(*dtype);
    lex_.fail(at, "expected a type, got '" + std::string(name) + "'", type_hint(name));
  }
  const Level level(*this);
  lex_.expect('<');
  if (name == "tensor_buffer") return tensor_buffer();
  Type result;
  if (name == "tensor") {
    const DType dtype = element_type();
    lex_.expect(',', "a tensor type is written tensor<fp16, [1, 2]>, a scalar tensor<fp16, []>");
    result = Type::tensor(dtype, dims());
  } else if (name == "list") {
    Type element = type();
    lex_.expect(',', "a list type is written list<tensor<fp16, [4]>, 3>");
    result = Type::list(std::move(element), dim(0));
  } else if (name == "state") {
    const Location where = lex_.here();
    Type wrapped = type();
    if (!wrapped.is_tensor()) {
      lex_.fail(where, "expected a tensor type in state<...>, got " + to_string(wrapped));
    }
    result = Type::state(std::move(wrapped));
  } else {
    result.kind = name == "tuple" ? Type::Kind::kTuple : Type::Kind::kDict;
    result.params.push_back(type());
    if (name == "dict") {
      lex_.expect(',', "a dict type is written dict<string, fp16>");
      result.params.push_back(type());
    } else {
      while (lex_.accept(',')) result.params.push_back(type());
    }
  }
  lex_.expect('>');
  return result;
}

std::int64_t ValueParser::dim(std::int64_t least) {
  if (lex_.accept('?')) return kUnknownDim;
  const Location at = lex_.here();
  const std::string_view text = lex_.rest();
  const char* what = least > 0 ? "a positive dimension or '?'" : "a dimension or '?'";
  const Number n = lex_.number(false, what);
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max());
  if (!n.is_integer || n.too_big || n.magnitude > kMost || (n.negative && n.magnitude > 0) ||
      static_cast<std::int64_t>(n.magnitude) < least) {
    const std::string got(text.substr(0, text.size() - lex_.remaining()));
    lex_.fail(at, std::string("expected ") + what + ", got '" + got + "'",
              n.is_integer && n.magnitude > kMost ? "the largest dimension is 2147483647" : "");
  }
  return static_cast<std::int64_t>(n.magnitude);
}

Dims ValueParser::dims() {
  Dims result;
  lex_.expect('[');
  if (lex_.peek() != ']') result.reserve(4);
  list(']', [&] { result.push_back(dim(1)); });
  return result;
}

DType ValueParser::element_type() {
  const Location at = lex_.here();
  const auto name = lex_.identifier("an element type");
  const auto dtype = dtype_from_name(name);
  if (!dtype) {
    lex_.fail(at, "expected an element type, got '" + std::string(name) + "'", type_hint(name));
  }
  return *dtype;
}

Type ValueParser::tensor_buffer() {
  Type result;
  result.kind = Type::Kind::kTensorBuffer;
  result.dtype = element_type();
  SeenNames seen;
  while (lex_.accept(',')) {
    const Location at = lex_.here();
    const auto name = lex_.identifier("shape=, strides= or another list of the buffer");
    if (!seen.insert(name)) {
      lex_.fail(at, "expected each list of a buffer once, got '" + std::string(name) + "' again");
    }
    lex_.expect('=');
    lex_.expect('[');
    Dims numbers;
    list(']', [&] { numbers.push_back(dim(0)); });
    result.buffer.emplace_back(name, std::move(numbers));
  }
  lex_.expect('>');
  return result;
}

Value ValueParser::value() {
  const Location at = lex_.here();
  return value_of(type(), at);
}

Value ValueParser::value_of(Type type, Location at) {
  Value v;
  v.type = std::move(type);
  v.location = at;
  if (v.type.is_state() || v.type.kind == Type::Kind::kTensorBuffer) {
    lex_.fail(at, "expected a type that has literals, got " + to_string(v.type));
  }
  lex_.expect('(');
  literal(v);
  lex_.expect(')');
  return v;
}

void ValueParser::literal(Value& v) {
  if (v.type.is_tensor()) {
    if (lex_.peek() == 'B' && lex_.peek_identifier() == "BLOBFILE") {
      blob(v);
    } else {
      tensor_literal(v);
    }
  } else {
    members(v);
  }
}

void ValueParser::blob(Value& v) {
  if (!is_static(v.type.dims) || v.type.dtype == DType::kString) {
    lex_.fail_expected("inline elements", "a weight file holds numbers of a known shape");
  }
  lex_.identifier("BLOBFILE");
  lex_.expect('(');
  bool has_offset = false;
  list(')', [&] {
    const Location at = lex_.here();
    const auto name = lex_.identifier("path or offset");
    const bool again = name == "path" ? v.is_blob() : has_offset;
    if ((name != "path" && name != "offset") || again) {
      lex_.fail(at, "expected path and offset once, got '" + std::string(name) + "'");
    }
    lex_.expect('=');
    const Location where = lex_.here();
    const Type part = type();
    if (name == "path") {
      const auto bad_path = [&] {
        lex_.fail(where, "expected a path, such as string(\"@model_path/weights/weight.bin\")");
      };
      if (part != Type::tensor(DType::kString)) bad_path();
      lex_.expect('(');
      v.blob_path = lex_.string();
      if (v.blob_path.empty()) bad_path();
    } else {
      const auto bad_offset = [&] {
        lex_.fail(where, "expected an offset in bytes, such as uint64(64)");
      };
      if (!part.is_scalar() || !is_integer(part.dtype)) bad_offset();
      lex_.expect('(');
      v.blob_offset = element(part.dtype, "an integer");
      if (is_signed(part.dtype) && static_cast<std::int64_t>(v.blob_offset) < 0) bad_offset();
      has_offset = true;
    }
    lex_.expect(')');
  });
  if (!v.is_blob() || !has_offset) {
    lex_.fail_expected("a path and an offset in BLOBFILE(...)",
                       "BLOBFILE(path = string(\"@model_path/weights/weight.bin\"), "
                       "offset = uint64(64))");
  }
}

void ValueParser::tensor_literal(Value& v) {
  const auto unknown = std::count(v.type.dims.begin(), v.type.dims.end(), kUnknownDim);
  if (unknown > 1) {
    lex_.fail(v.location, "expected at most one '?' in the type of a literal, got " +
                              milane::to_string(v.type.dims));
  }
  if (lex_.peek() == '[' && v.type.dims.empty()) {
    lex_.fail_expected(v.type.dtype == DType::kString ? "a string" : "one element",
                       "a value of rank 0 has no brackets");
  }
  // The text bounds what can come, whatever the type promises.
  if (v.type.dtype != DType::kString && is_static(v.type.dims)) {
    const auto most = static_cast<std::int64_t>(lex_.remaining());
    v.data.reserve(packed_bytes(v.type.dtype, std::min(v.count(), most)));
  }
  Dims lengths = v.type.dims;
  elements(v, lengths);
}

// One dimension of a nested literal. `lengths` holds what each level must have, kUnknownDim until
// the first list of that level has been read.
template <class Element>
void ValueParser::nested(const Value& v, Dims& lengths, std::size_t level, Element&& element) {
  if (level == lengths.size()) {
    element();
    return;
  }
  const Level guard(*this);
  const auto where = [&] {
    return " in dimension " + std::to_string(level) + " of " + milane::to_string(v.type.dims);
  };
  if (lex_.peek() != '[') lex_.fail_expected("'['" + where());
  lex_.accept('[');
  std::int64_t n = 0;
  const auto wanted = [&] { return lengths[level]; };
  if (lex_.peek() != ']') {
    for (;;) {
      if (n == wanted()) {
        lex_.fail(lex_.here(), "expected " + ordinal_elements(wanted()) + where() + ", got more");
      }
      nested(v, lengths, level + 1, element);
      ++n;
      const char c = lex_.peek();
      if (c == ']') break;
      if (c != ',') lex_.fail_expected("',' or ']'");
      lex_.accept(',');
      if (lex_.peek() == ']') lex_.fail_expected("another element after ','", "remove the comma");
    }
  }
  if (wanted() != kUnknownDim && n != wanted()) {
    lex_.fail(lex_.here(),
              "expected " + ordinal_elements(wanted()) + where() + ", got " + std::to_string(n));
  }
  lengths[level] = n;
  lex_.accept(']');
}

void ValueParser::elements(Value& v, Dims& lengths) {
  const DType dtype = v.type.dtype;
  const auto leaf = [&](std::string what) {
    if (lex_.peek() == '[') {
      lex_.fail_expected(what, "the type has rank " + std::to_string(lengths.size()) +
                                   ", so brackets nest that deep");
    }
  };
  if (dtype == DType::kString) {
    nested(v, lengths, 0, [&] {
      leaf("a string");
      v.strings.push_back(lex_.string());
    });
    return;
  }
  const std::string what = dtype == DType::kBool ? "true or false"
                           : is_float(dtype)     ? "a number"
                                                 : "an integer";
  ElementWriter writer(dtype, v.data);
  nested(v, lengths, 0, [&] {
    if (lex_.peek() == '[') leaf(what);
    writer.put(element(dtype, what));
  });
}

std::uint64_t ValueParser::element(DType dtype, const std::string& what) {
  if (dtype == DType::kBool) {
    const auto word = lex_.peek_identifier();
    if (word != "true" && word != "false") {
      lex_.fail_expected(what);
    }
    lex_.identifier(what);
    return word == "true" ? 1 : 0;
  }
  if (is_float(dtype)) return float_to_bits(dtype, lex_.number(true, what).value);
  const Location at = lex_.here();
  const std::string_view text = lex_.rest();
  const Number n = lex_.number(false, what);
  const auto least = static_cast<std::uint64_t>(-(integer_min(dtype) + 1)) + 1;  // |min|
  const std::uint64_t most = !n.negative ? integer_max(dtype) : is_signed(dtype) ? least : 0;
  if (n.is_integer && !n.too_big && n.magnitude <= most) {
    return n.negative ? ~n.magnitude + 1 : n.magnitude;
  }
  const std::string got(text.substr(0, text.size() - lex_.remaining()));
  const std::string name(dtype_name(dtype));
  if (!n.is_integer) {
    lex_.fail(at, "expected an integer, got '" + got + "'", "the type is " + name);
  }
  lex_.fail(at, "expected an " + name + " in [" + std::to_string(integer_min(dtype)) + ", " +
                    std::to_string(integer_max(dtype)) + "], got " + got);
}

void ValueParser::members(Value& v) {
  const Level level(*this);
  const auto member = [&](const Type& type) {
    Value m;
    m.type = type;
    m.location = lex_.here();
    literal(m);
    v.members.push_back(std::move(m));
  };
  const auto& params = v.type.params;
  if (v.type.kind == Type::Kind::kDict) {
    lex_.expect('{', "a dict is written {{\"key\", \"value\"}, {\"key\", \"value\"}}");
    list('}', [&] {
      lex_.expect('{', "each entry of a dict is written {key, value}");
      member(params[0]);
      lex_.expect(',');
      member(params[1]);
      lex_.expect('}');
    });
    return;
  }
  const bool is_list = v.type.kind == Type::Kind::kList;
  const char close = is_list ? ']' : ')';
  const auto wanted = is_list ? v.type.dims.front() : static_cast<std::int64_t>(params.size());
  const auto got = [&] { return static_cast<std::int64_t>(v.members.size()); };
  lex_.expect(is_list ? '[' : '(');
  // The closing bracket is left for the count, so that a short list is reported there.
  while (lex_.peek() != close) {
    if (got() == wanted) {
      lex_.fail(lex_.here(), "expected " + ordinal_elements(wanted) + ", got more");
    }
    member(is_list ? params[0] : params[v.members.size()]);
    if (lex_.peek() == close) break;
    if (!lex_.accept(',')) lex_.fail_expected(std::string("',' or '") + close + "'");
    if (lex_.peek() == close) lex_.fail_expected("another element after ','", "remove the comma");
  }
  if (wanted != kUnknownDim && got() != wanted) {
    lex_.fail(lex_.here(),
              "expected " + ordinal_elements(wanted) + ", got " + std::to_string(got()));
  }
  lex_.accept(close);
}

}  // namespace milane::mil
