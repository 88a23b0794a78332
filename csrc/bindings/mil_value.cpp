#include "bindings/mil_value.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstring>
#include <vector>

#include "bindings/arrays.h"
#include "core/error.h"
#include "mil/literal.h"
#include "mil/parser.h"
#include "mil/printer.h"

namespace py = pybind11;

namespace milane::bindings {
namespace {

using namespace milane::mil;  // NOLINT: this file is about nothing else

[[noreturn]] void bad_dtype(const std::string& message, const std::string& hint = {}) {
  throw Error(ErrorCode::kDType, message, hint);
}

[[noreturn]] void invalid(const std::string& message, const std::string& hint = {}) {
  throw Error(ErrorCode::kInvalidArgument, message, hint);
}

std::optional<DType> dtype_of(char kind, py::ssize_t size) {
  static constexpr std::pair<const char*, DType> kTypes[]{
      {"f2", DType::kFp16},   {"f4", DType::kFp32},   {"f8", DType::kFp64},  {"i1", DType::kInt8},
      {"i2", DType::kInt16},  {"i4", DType::kInt32},  {"i8", DType::kInt64}, {"u1", DType::kUInt8},
      {"u2", DType::kUInt16}, {"u4", DType::kUInt32}, {"u8", DType::kUInt64}};
  if (kind == 'b') return DType::kBool;
  if (kind == 'U') return DType::kString;
  for (const auto& [code, dtype] : kTypes) {
    if (code[0] == kind && code[1] - '0' == size) return dtype;
  }
  return std::nullopt;
}

DType checked_dtype(const std::string& name) {
  const auto dtype = dtype_from_name(name);
  if (!dtype) bad_dtype("dtype: expected a MIL type such as fp16 or int32, got '" + name + "'");
  return *dtype;
}

// The shape with `?` replaced by what is stored.
std::vector<py::ssize_t> stored_shape(const Value& v) {
  std::int64_t known = 1;
  for (const auto d : v.type.dims) known *= d == kUnknownDim ? 1 : d;
  std::vector<py::ssize_t> shape;
  for (const auto d : v.type.dims) {
    shape.push_back(static_cast<py::ssize_t>(d == kUnknownDim ? v.count() / known : d));
  }
  return shape;
}

py::object nested_strings(const Value& v, const std::vector<py::ssize_t>& shape, std::size_t level,
                          std::size_t& next) {
  if (level == shape.size()) return py::str(v.strings.at(next++));
  py::list result;
  for (py::ssize_t i = 0; i < shape[level]; ++i) {
    result.append(nested_strings(v, shape, level + 1, next));
  }
  return result;
}

py::object tensor_to_numpy(const Value& v) {
  const auto shape = stored_shape(v);
  if (v.type.dtype == DType::kString) {
    std::size_t next = 0;
    return nested_strings(v, shape, 0, next);
  }
  py::array array(numpy_dtype(v.type.dtype), shape);
  auto* out = static_cast<std::byte*>(array.mutable_data());
  if (!is_sub_byte(v.type.dtype)) {
    if (!v.data.empty()) std::memcpy(out, v.data.data(), v.data.size());
    return array;
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(array.size()); ++i) {
    out[i] = static_cast<std::byte>(element_integer(v.type.dtype, v.data.data(), i));
  }
  return array;
}

py::object to_numpy(const Value& v) {
  if (v.is_blob()) {
    invalid("to_numpy: expected an inline value, got BLOBFILE(\"" + v.blob_path + "\")",
            "read the weight file with milane.blob");
  }
  if (v.type.is_tensor()) return tensor_to_numpy(v);
  if (v.type.kind == Type::Kind::kDict) {
    py::dict result;
    for (std::size_t i = 0; i + 1 < v.members.size(); i += 2) {
      py::object key = to_numpy(v.members[i]);
      if (py::isinstance<py::array>(key)) key = key.attr("item")();  // arrays have no hash
      result[key] = to_numpy(v.members[i + 1]);
    }
    return result;
  }
  py::list result;
  for (const auto& member : v.members) result.append(to_numpy(member));
  if (v.type.kind == Type::Kind::kTuple) return py::tuple(result);
  return result;
}

void put_integers(const py::array& array, DType source, Value& v) {
  const DType dtype = v.type.dtype;
  const auto* data = static_cast<const std::byte*>(array.data());
  ElementWriter writer(dtype, v.data);
  for (std::size_t i = 0; i < static_cast<std::size_t>(array.size()); ++i) {
    const auto bits = source == DType::kBool ? std::to_integer<std::uint64_t>(data[i])
                                             : element_bits(source, data, i);
    const bool negative = is_signed(source) && element_integer(source, data, i) < 0;
    const bool fits = negative ? element_integer(source, data, i) >= integer_min(dtype)
                               : bits <= integer_max(dtype);
    if (!fits) {
      std::string got;
      append_element(got, source, data, i);
      invalid("from_numpy: element " + std::to_string(i) + ": expected an " +
              std::string(dtype_name(dtype)) + " in [" + std::to_string(integer_min(dtype)) + ", " +
              std::to_string(integer_max(dtype)) + "], got " + got);
    }
    writer.put(negative ? static_cast<std::uint64_t>(element_integer(source, data, i)) : bits);
  }
}

void put_floats(const py::array& array, DType source, Value& v) {
  const DType dtype = v.type.dtype;
  const auto* data = static_cast<const std::byte*>(array.data());
  ElementWriter writer(dtype, v.data);
  for (std::size_t i = 0; i < static_cast<std::size_t>(array.size()); ++i) {
    const double number = is_float(source) ? float_from_bits(source, element_bits(source, data, i))
                          : source == DType::kUInt64
                              ? static_cast<double>(element_bits(source, data, i))
                              : static_cast<double>(element_integer(source, data, i));
    writer.put(float_to_bits(dtype, number));
  }
}

void put_elements(const py::array& array, DType source, Value& v) {
  const DType dtype = v.type.dtype;
  const bool bits =
      (dtype == DType::kBf16 && source == DType::kUInt16) ||
      ((dtype == DType::kFp8E4M3FN || dtype == DType::kFp8E5M2) && source == DType::kUInt8);
  if (source == dtype || bits) {
    const auto* data = static_cast<const std::byte*>(array.data());
    v.data.assign(data, data + array.nbytes());
  } else if (is_float(dtype) && source != DType::kBool) {
    put_floats(array, source, v);
  } else if (is_integer(dtype) && !is_float(source)) {
    put_integers(array, source, v);
  } else {
    bad_dtype("from_numpy: expected an array that converts to " + std::string(dtype_name(dtype)) +
                  ", got one of " + std::string(dtype_name(source)),
              "convert it first: array.astype(...)");
  }
}

}  // namespace

Type type_from(py::handle type) {
  if (py::isinstance<Type>(type)) return type.cast<Type>();
  if (py::isinstance<py::str>(type)) return parse_type(type.cast<std::string>());
  bad_dtype("type: expected a Type or its text, such as \"tensor<fp16, [1, 4]>\"");
}

std::string shortened(const std::string& text) {
  constexpr std::size_t kMost = 100;
  if (text.size() <= kMost) return text;
  std::size_t end = kMost;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0u) == 0x80u) --end;
  return text.substr(0, end) + "...";
}

Value value_from_numpy(const py::object& object, const std::optional<std::string>& dtype) {
  py::object given = py::module_::import("numpy").attr("asarray")(object);
  const auto kind = given.attr("dtype").attr("kind").cast<std::string>();
  const auto source = dtype_of(kind[0], given.attr("dtype").attr("itemsize").cast<py::ssize_t>());
  if (!source) {
    bad_dtype("from_numpy: expected numbers, bools or strings, got an array of " +
              py::str(given.attr("dtype")).cast<std::string>());
  }
  Value v;
  v.type = Type::tensor(dtype ? checked_dtype(*dtype) : *source);
  for (const auto size : given.attr("shape")) {
    v.type.dims.push_back(size.cast<std::int64_t>());
    if (v.type.dims.back() == 0) {
      invalid("from_numpy: expected positive dimensions, got shape " +
              py::str(given.attr("shape")).cast<std::string>());
    }
  }
  if (*source == DType::kString) {
    if (v.type.dtype != DType::kString) {
      bad_dtype("from_numpy: expected numbers for " + std::string(dtype_name(v.type.dtype)) +
                ", got strings");
    }
    for (const auto item : given.attr("ravel")()) v.strings.push_back(py::str(item));
    return v;
  }
  const py::object native = given.attr("dtype").attr("newbyteorder")("<");
  given = given.attr("astype")(native, py::arg("order") = "C", py::arg("copy") = false);
  put_elements(py::reinterpret_borrow<py::array>(given), *source, v);
  return v;
}

namespace {

const char* kind_name(const Type& type) {
  switch (type.kind) {
    case Type::Kind::kTensor:
      return "tensor";
    case Type::Kind::kList:
      return "list";
    case Type::Kind::kTuple:
      return "tuple";
    case Type::Kind::kDict:
      return "dict";
    case Type::Kind::kState:
      return "state";
    case Type::Kind::kTensorBuffer:
      return "tensor_buffer";
  }
  return "";
}

py::tuple shape_tuple(const Dims& dims) {
  py::list result;
  for (const auto d : dims) {
    if (d == kUnknownDim) {
      result.append(py::none());
    } else {
      result.append(d);
    }
  }
  return py::tuple(result);
}

Type tensor_type(const std::string& dtype, const std::vector<std::optional<std::int64_t>>& shape) {
  Type type = Type::tensor(checked_dtype(dtype));
  for (const auto d : shape) {
    if (d && *d < 1) {
      invalid("Type.tensor: expected positive dimensions or None, got " + std::to_string(*d));
    }
    type.dims.push_back(d.value_or(kUnknownDim));
  }
  return type;
}

void bind_type(py::module_& m) {
  py::class_<Type>(m, "Type", "A MIL type. str() spells it as program(1.3) does.")
      .def(py::init([](const std::string& text) { return parse_type(text); }), py::arg("text"),
           "The type that `text` spells. Raises MILSyntaxError.")
      .def_static("tensor", &tensor_type, py::arg("dtype"),
                  py::arg("shape") = std::vector<std::optional<std::int64_t>>{},
                  "A tensor type; None in the shape is a dimension known at run time only.")
      .def_static(
          "state",
          [](const py::object& wrapped) {
            Type type = type_from(wrapped);
            if (!type.is_tensor()) invalid("Type.state: expected a tensor type");
            return Type::state(std::move(type));
          },
          py::arg("tensor"), "The type of a state that holds a tensor.")
      .def_property_readonly("kind", &kind_name,
                             "tensor, list, tuple, dict, state or tensor_buffer.")
      .def_property_readonly(
          "dtype",
          [](const Type& t) {
            if (t.kind == Type::Kind::kTuple || t.kind == Type::Kind::kDict) {
              invalid("dtype: expected a type of elements, got " + to_string(t));
            }
            return std::string(dtype_name(t.dtype));
          },
          "Element type. Raises InvalidArgumentError for tuples and dicts.")
      .def_property_readonly(
          "shape",
          [](const Type& t) {
            if (!t.unwrapped().is_tensor()) {
              invalid("shape: expected a tensor type, got " + to_string(t));
            }
            return shape_tuple(t.unwrapped().dims);
          },
          "Dimensions of a tensor or of the tensor in a state, None for each unknown one.\n\n"
          "Raises InvalidArgumentError for other types.")
      .def_property_readonly(
          "length",
          [](const Type& t) -> std::optional<std::int64_t> {
            if (t.kind != Type::Kind::kList || t.dims.front() == kUnknownDim) return std::nullopt;
            return t.dims.front();
          },
          "Length of a list type; None when unknown and for other kinds.")
      .def_property_readonly(
          "params", [](const Type& t) { return t.params; },
          "The types this one is made of: members, key and value, element.")
      .def_property_readonly(
          "buffer",
          [](const Type& t) {
            py::dict result;
            for (const auto& [name, dims] : t.buffer) result[py::str(name)] = shape_tuple(dims);
            return result;
          },
          "The lists of a tensor_buffer: shape, strides, interleave_factors.")
      .def(
          "__eq__", [](const Type& a, const Type& b) { return a == b; }, py::is_operator())
      .def("__hash__", [](const Type& t) { return py::hash(py::str(to_string(t))); })
      .def("__str__", [](const Type& t) { return to_string(t); })
      .def("__repr__", [](const Type& t) { return "Type('" + to_string(t) + "')"; });
}

Value blob_value(const py::object& type, const std::string& path, std::uint64_t offset) {
  Value v;
  v.type = type_from(type);
  if (!v.type.is_tensor() || !is_static(v.type.dims) || v.type.dtype == DType::kString) {
    invalid("Value.blob: expected a tensor of numbers with a known shape, got " +
            to_string(v.type));
  }
  if (path.empty()) invalid("Value.blob: expected a path, such as @model_path/weights/weight.bin");
  v.blob_path = path;
  v.blob_offset = offset;
  return v;
}

}  // namespace

void bind_values(py::module_& m) {
  bind_type(m);
  py::class_<Value>(m, "Value", "A literal and its type; it never changes.")
      .def(py::init([](const std::string& text) { return parse_value(text); }), py::arg("text"),
           "The value that MIL text spells: Value(\"int32(3)\"). Raises MILSyntaxError.")
      .def_static("from_numpy", &value_from_numpy, py::arg("array"), py::arg("dtype") = py::none(),
                  "A tensor value from an array, rounded to `dtype` where one is given.\n\n"
                  "uint16 arrays for bf16 and uint8 arrays for fp8 are taken as the bits.\n"
                  "Raises DTypeError for arrays that do not convert, InvalidArgumentError for\n"
                  "integers out of range and for shapes with a zero.")
      .def_static("string", &Value::string, py::arg("text"), "A scalar string.")
      .def_static("blob", &blob_value, py::arg("type"), py::arg("path"), py::arg("offset"),
                  "A tensor whose elements stand in a weight file; `offset` is the record's, in "
                  "bytes.")
      .def("to_numpy", &to_numpy,
           "The elements as an array: bf16 and fp8 as their bits, sub-byte types one to a byte.\n\n"
           "Strings give str and lists of str; tuples, lists and dicts give Python's own.\n"
           "Raises InvalidArgumentError for a BLOBFILE.")
      .def_property_readonly("type", [](const Value& v) { return v.type; })
      .def_property_readonly("is_blob", &Value::is_blob)
      .def_property_readonly(
          "blob_path",
          [](const Value& v) {
            return v.is_blob() ? std::optional<std::string>(v.blob_path) : std::nullopt;
          },
          "Path of the weight file as written; None for inline values.")
      .def_property_readonly(
          "blob_offset",
          [](const Value& v) {
            return v.is_blob() ? std::optional<std::uint64_t>(v.blob_offset) : std::nullopt;
          },
          "Offset of the record in bytes; None for inline values.")
      .def_property_readonly("line", [](const Value& v) { return v.location.line; })
      .def_property_readonly("column", [](const Value& v) { return v.location.column; })
      .def(
          "__eq__", [](const Value& a, const Value& b) { return a == b; }, py::is_operator())
      .def("__hash__", [](const Value& v) { return py::hash(py::str(print(v, false))); })
      .def("__str__", [](const Value& v) { return print(v, false); })
      .def("__repr__",
           [](const Value& v) { return "Value('" + shortened(print(v, false)) + "')"; });
}

}  // namespace milane::bindings
