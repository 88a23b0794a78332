#include "apple/attributes.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "core/error.h"

namespace milane::apple {
namespace {

constexpr std::string_view kOutputSuffix = "@output";

[[noreturn]] void fail(const std::string& expected, const std::string& got) {
  throw Error(ErrorCode::kLayout,
              "attributes: expected " + expected + " of the loaded program, got " + got,
              "the layout is never guessed: `milane doctor` compares this system with the known "
              "ones")
      .during("attributes");
}

DType dtype_of(const TensorAttributes& tensor) {
  static constexpr std::array<std::pair<std::string_view, DType>, 12> kTypes{
      {{"Float16", DType::kFp16},
       {"Float32", DType::kFp32},
       {"Int8", DType::kInt8},
       {"UInt8", DType::kUInt8},
       {"Int16", DType::kInt16},
       {"UInt16", DType::kUInt16},
       {"Int32", DType::kInt32},
       {"UInt32", DType::kUInt32},
       {"Int64", DType::kInt64},
       {"UInt64", DType::kUInt64},
       {"Int4", DType::kInt4},
       {"Bool", DType::kBool}}};
  for (const auto& [name, dtype] : kTypes) {
    if (name == tensor.type) return dtype;
  }
  fail("a known element type for " + tensor.name, tensor.type);
}

// "y" of "y@output": outputs carry the suffix, inputs do not.
std::string_view bare(std::string_view name) {
  return name.ends_with(kOutputSuffix) ? name.substr(0, name.size() - kOutputSuffix.size()) : name;
}

template <class Range, class Name>
auto find_named(const Range& range, const Name& name_of, const std::string& name) {
  return std::find_if(range.begin(), range.end(),
                      [&](const auto& item) { return bare(name_of(item)) == name; });
}

// Axes of the device's five, outermost first, with the stride of each: which of them a tensor of
// fewer axes uses. Right-aligned on channels, height, width; four axes have a batch, five a depth
// between channels and height.
struct Axis {
  std::int64_t size, stride;
};
std::vector<Axis> device_axes(const TensorAttributes& t, std::size_t rank, std::int64_t elem) {
  const Axis batch{t.batches, t.batch_stride}, channels{t.channels, t.plane_stride},
      depth{t.depth, t.depth_stride}, height{t.height, t.row_stride}, width{t.width, elem};
  if (rank == 5) return {batch, channels, depth, height, width};
  const std::vector<Axis> four{batch, channels, height, width};
  return {four.end() - static_cast<std::ptrdiff_t>(std::min<std::size_t>(rank, 4)), four.end()};
}

TensorLayout layout_of(const TensorAttributes& t, const mil::Type& type) {
  const DType dtype = dtype_of(t);
  if (dtype != type.dtype) {
    fail(std::string(dtype_name(type.dtype)) + " for " + t.name, t.type);
  }
  const auto elem = static_cast<std::int64_t>(dtype_size(dtype));
  Dims shape, strides;
  for (const Axis& axis : device_axes(t, type.dims.size(), elem)) {
    shape.push_back(axis.size);
    strides.push_back(axis.stride);
  }
  const std::int64_t reported = t.batches * t.channels * t.depth * t.height * t.width;
  if (shape != type.dims || reported != element_count(type.dims)) {
    fail(to_string(type.dims) + " for " + t.name,
         to_string(Dims{t.batches, t.channels, t.depth, t.height, t.width}) +
             " (batches, channels, depth, height, width)");
  }
  if (t.row_stride < static_cast<std::int64_t>(kRowAlignment) ||
      t.row_stride % static_cast<std::int64_t>(kRowAlignment) != 0) {
    fail("a row stride that is a multiple of 64 for " + t.name, std::to_string(t.row_stride));
  }
  // The larger of the two formulas in use (C.3): a surface that is too long does no harm.
  const std::int64_t bytes =
      std::max({t.batches * t.batch_stride, t.channels * t.plane_stride, t.row_stride});
  return {dtype, std::move(shape), std::move(strides), static_cast<std::size_t>(bytes)};
}

DevicePort port_of(const std::string& name, const mil::Type& type, const char* side,
                   const std::vector<TensorAttributes>& tensors,
                   const std::vector<std::string>& symbols) {
  const auto tensor = find_named(tensors, [](const auto& t) -> auto& { return t.name; }, name);
  const auto symbol = find_named(symbols, [](const auto& s) -> auto& { return s; }, name);
  if (tensor == tensors.end() || symbol == symbols.end()) {
    std::string known;
    for (const std::string& s : symbols) known += (known.empty() ? "" : ", ") + s;
    fail("the " + std::string(side) + " " + name, known.empty() ? "none" : known);
  }
  return {{name, layout_of(*tensor, type)}, static_cast<std::uint32_t>(symbol - symbols.begin())};
}

const mil::Type& type_of(const mil::Function& function, const std::string& name) {
  for (const auto& op : function.body.operations) {
    for (const auto& output : op->outputs) {
      if (output.name == name) return output.type;
    }
  }
  for (const auto& input : function.body.inputs) {
    if (input.name == name) return input.type;
  }
  fail("a value named " + name, "none");
}

}  // namespace

DevicePorts device_ports(const mil::Function& function, const ModelAttributes& attributes) {
  DevicePorts ports;
  if (const auto it = attributes.procedure_ids.find(function.name);
      it != attributes.procedure_ids.end()) {
    ports.procedure = static_cast<std::uint32_t>(it->second);
  } else if (attributes.procedures.size() != 1) {
    fail("a procedure named " + function.name,
         std::to_string(attributes.procedure_ids.size()) + " others");
  }
  if (ports.procedure >= attributes.procedures.size()) {
    fail("attributes of procedure " + std::to_string(ports.procedure),
         "those of " + std::to_string(attributes.procedures.size()) + " procedures");
  }
  const ProcedureAttributes& procedure = attributes.procedures[ports.procedure];
  for (const auto& input : function.body.inputs) {
    ports.inputs.push_back(
        port_of(input.name, input.type, "input", procedure.inputs, attributes.input_symbols));
  }
  for (const auto& output : function.body.outputs) {
    ports.outputs.push_back(port_of(output.name, type_of(function, output.name), "output",
                                    procedure.outputs, attributes.output_symbols));
  }
  return ports;
}

}  // namespace milane::apple
