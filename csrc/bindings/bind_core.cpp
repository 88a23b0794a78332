// Half precision, layouts, threads, the instruction set.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/dims_caster.h"
#include "core/cpu.h"
#include "core/half.h"
#include "core/layout.h"
#include "host/parallel.h"

namespace py = pybind11;

namespace milane::bindings {
namespace {

using FloatArray = py::array_t<float, py::array::c_style | py::array::forcecast>;

py::array float_to_half_array(const FloatArray& a) {
  py::array out(py::dtype("e"), std::vector<py::ssize_t>(a.shape(), a.shape() + a.ndim()));
  const float* src = a.data();
  auto* dst = static_cast<Half*>(out.mutable_data());
  const auto n = static_cast<std::size_t>(a.size());
  py::gil_scoped_release release;
  convert_float_to_half(dst, src, n);
  return out;
}

py::array half_to_float_array(const py::array& a) {
  const py::array bits = py::array::ensure(a, py::array::c_style);
  if (!bits || bits.itemsize() != 2) {
    throw Error(ErrorCode::kDType, "fp16_to_f32: expected float16 (or its uint16 bits), got " +
                                       py::str(a.dtype()).cast<std::string>());
  }
  py::array out(py::dtype("f"), std::vector<py::ssize_t>(bits.shape(), bits.shape() + bits.ndim()));
  const auto* src = static_cast<const Half*>(bits.data());
  auto* dst = static_cast<float*>(out.mutable_data());
  const auto n = static_cast<std::size_t>(bits.size());
  py::gil_scoped_release release;
  convert_half_to_float(dst, src, n);
  return out;
}

py::tuple as_tuple(const Dims& dims) {
  py::tuple t(dims.size());
  for (std::size_t i = 0; i < dims.size(); ++i) t[i] = dims[i];
  return t;
}

void bind_layout(py::module_& m) {
  py::class_<TensorLayout>(
      m, "TensorLayout",
      "How a tensor lies in a surface: rows (the last axis) padded to 64 bytes, planes dense.\n\n"
      "Args:\n"
      "    shape: positive dimensions, at most five, read as [..., C, H, W].\n"
      "    dtype: a MIL name (\"fp16\") or a NumPy dtype.\n\n"
      "Raises:\n"
      "    UnsupportedLayoutError: more than five axes, a dimension below 1, a sub-byte dtype, or\n"
      "        a size beyond the address space.\n"
      "    DTypeError: no MIL type is like the dtype.")
      .def(py::init([](const Dims& shape, const py::object& dtype) {
             return TensorLayout(dtype_of(dtype), shape);
           }),
           py::arg("shape"), py::arg("dtype") = "fp16")
      .def_property_readonly(
          "shape", [](const TensorLayout& l) { return as_tuple(l.shape()); },
          "The tensor's dimensions.")
      .def_property_readonly(
          "dtype", [](const TensorLayout& l) { return std::string(dtype_name(l.dtype())); },
          "The element type's MIL name, such as \"fp16\".")
      .def_property_readonly("channels", &TensorLayout::channels,
                             "The third axis from the end; 1 where there is none.")
      .def_property_readonly("height", &TensorLayout::height,
                             "The second axis from the end; 1 where there is none.")
      .def_property_readonly("width", &TensorLayout::width, "The last axis; 1 where there is none.")
      .def_property_readonly("elem_size", &TensorLayout::elem_size, "Bytes per element.")
      .def_property_readonly("row_stride", &TensorLayout::row_stride,
                             "Bytes from one row to the next: a multiple of 64.")
      .def_property_readonly("plane_stride", &TensorLayout::plane_stride,
                             "Bytes from one channel to the next: height times row_stride.")
      .def_property_readonly("alloc_size", &TensorLayout::alloc_size,
                             "Bytes of the whole surface, padding included.")
      .def_property_readonly("logical_bytes", &TensorLayout::logical_bytes,
                             "Bytes of the tensor's elements, without padding.")
      .def_property_readonly("logical_elements", &TensorLayout::logical_elements,
                             "The number of elements.")
      .def_property_readonly(
          "strides", [](const TensorLayout& l) { return as_tuple(l.strides()); },
          "Bytes per step along each axis of shape, as NumPy's.")
      .def_property_readonly("is_packed", &TensorLayout::is_packed,
                             "Whether rows follow each other without padding, or there is one.")
      .def(
          "__eq__", [](const TensorLayout& a, const TensorLayout& b) { return a == b; },
          py::is_operator())
      .def("__hash__", [](const TensorLayout& l) { return py::hash(as_tuple(l.shape())); })
      .def("__repr__", [](const TensorLayout& l) {
        return "TensorLayout(shape=" + to_string(l.shape()) +
               ", dtype=" + std::string(dtype_name(l.dtype())) +
               ", row_stride=" + std::to_string(l.row_stride()) +
               ", alloc_size=" + std::to_string(l.alloc_size()) + ")";
      });
}

}  // namespace

void bind_core(py::module_& m) {
  m.def("float_to_half", &float_to_half_array, py::arg("values"),
        "Return values as float16; see milane.half.");
  m.def("half_to_float", &half_to_float_array, py::arg("values"),
        "Return float16 values, or their bits, as float32; see milane.half.");
  m.def("row_stride_for", &row_stride_for, py::arg("width"), py::arg("elem_size"),
        "Return the bytes from one row of width elements to the next: a multiple of 64.\n\n"
        "Raises:\n"
        "    UnsupportedLayoutError: a width or element size below 1.");
  m.def(
      "cpu_isa", [] { return std::string(isa_name(cpu_isa())); },
      "Return the instruction set the host engine uses, such as \"x86-64-v3\".\n\n"
      "The environment variable MILANE_ISA (v2, v3) lowers it when set before the first use.");
  m.def("cpu_has_bf16", &cpu_has_bf16,
        "Return whether numerics=\"bf16\" runs here: AVX512-BF16, not lowered by MILANE_ISA.");
  m.def("num_threads", &host::num_threads,
        "Return how many threads an evaluation may use, the caller included.");
  m.def("set_num_threads", &host::set_num_threads, py::arg("n"),
        "Use at most n threads per evaluation, for the whole process.\n\n"
        "Raises:\n"
        "    InvalidArgumentError: n is below 1.");
  bind_layout(m);
}

}  // namespace milane::bindings
