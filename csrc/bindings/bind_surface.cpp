// Surfaces: zero-copy views, and conversions straight into strided rows.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstring>

#include "backends.h"
#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "core/half.h"

namespace py = pybind11;

namespace milane::bindings {
namespace {

std::string shape_text(const py::array& a) {
  Dims d(a.shape(), a.shape() + a.ndim());
  return to_string(d);
}

// The view keeps the surface alive: its base is the surface object.
py::array view_of(const py::object& self) {
  const SurfacePtr s = self.cast<SurfacePtr>();
  const TensorLayout& l = s->layout();
  const Dims& strides = l.strides();
  return py::array(numpy_dtype(l.dtype()),
                   std::vector<py::ssize_t>(l.shape().begin(), l.shape().end()),
                   std::vector<py::ssize_t>(strides.begin(), strides.end()),
                   static_cast<const void*>(s->data()), self);
}

// Which source types a surface takes without losing what the caller meant.
bool takes(DType surface, char kind) {
  // NumPy has no type for bf16 and fp8: their bits come as unsigned integers.
  const bool bits_only = is_float(surface) && numpy_dtype(surface).kind() == 'u';
  if (bits_only) return kind == 'u';
  if (is_float(surface)) return kind == 'f';
  if (surface == DType::kBool) return kind == 'b';
  return kind == 'i' || kind == 'u';
}

[[noreturn]] void wrong_dtype(const Surface& s, const py::array& a) {
  throw Error(ErrorCode::kDType,
              "write: expected an array of " + std::string(dtype_name(s.layout().dtype())) +
                  ", got " + py::str(a.dtype()).cast<std::string>(),
              "convert it first, for example with array.astype(...)");
}

void convert_rows(Surface& s, const float* src) {
  const TensorLayout& l = s.layout();
  const Surface::Lock lock(s, true);
  for_each_run(l, [&](std::size_t offset, std::int64_t first, std::int64_t count) {
    convert_float_to_half(reinterpret_cast<Half*>(lock.data() + offset), src + first,
                          static_cast<std::size_t>(count));
  });
}

void write(Surface& s, const py::array& values) {
  const TensorLayout& l = s.layout();
  const Dims shape(values.shape(), values.shape() + values.ndim());
  if (shape != l.shape()) {
    throw Error(ErrorCode::kInvalidArgument,
                "write: expected shape " + to_string(l.shape()) + ", got " + shape_text(values));
  }
  if (!takes(l.dtype(), values.dtype().kind())) wrong_dtype(s, values);
  if (l.dtype() == DType::kFp16 && values.itemsize() == 4) {
    const py::array dense = py::array::ensure(values, py::array::c_style);
    const auto* src = static_cast<const float*>(dense.data());
    py::gil_scoped_release release;
    return convert_rows(s, src);
  }
  // NumPy converts the rest (float64, wider and narrower integers), then rows are copied.
  const py::array same = values.attr("astype")(numpy_dtype(l.dtype()), py::arg("order") = "C",
                                               py::arg("copy") = false);
  if (is_integer(l.dtype()) && !same.is(values) &&
      !py::module_::import("numpy").attr("array_equal")(same, values).cast<bool>()) {
    throw Error(ErrorCode::kInvalidArgument, "write: expected integers that fit " +
                                                 std::string(dtype_name(l.dtype())) +
                                                 ", got larger ones");
  }
  const auto* src = static_cast<const std::byte*>(same.data());
  py::gil_scoped_release release;
  const Surface::Lock lock(s, true);
  copy_rows_from_dense(l, lock.data(), src);
}

py::array read(Surface& s) {
  const TensorLayout& l = s.layout();
  py::array out(numpy_dtype(l.dtype()),
                std::vector<py::ssize_t>(l.shape().begin(), l.shape().end()));
  auto* dst = static_cast<std::byte*>(out.mutable_data());
  py::gil_scoped_release release;
  const Surface::Lock lock(s, false);
  copy_rows_to_dense(l, lock.data(), dst);
  return out;
}

py::array read_f32(Surface& s) {
  const TensorLayout& l = s.layout();
  if (l.dtype() != DType::kFp16) return py::array(read(s).attr("astype")("f4"));
  py::array out(py::dtype("f"), std::vector<py::ssize_t>(l.shape().begin(), l.shape().end()));
  auto* dst = static_cast<float*>(out.mutable_data());
  py::gil_scoped_release release;
  const Surface::Lock lock(s, false);
  for_each_run(l, [&](std::size_t offset, std::int64_t first, std::int64_t count) {
    convert_half_to_float(dst + first, reinterpret_cast<const Half*>(lock.data() + offset),
                          static_cast<std::size_t>(count));
  });
  return out;
}

}  // namespace

void bind_surface(py::module_& m) {
  py::class_<Surface, SurfacePtr>(m, "Surface", "Memory with a layout; see milane.Surface.")
      .def_property_readonly("layout", &Surface::layout, py::return_value_policy::copy,
                             "Shape, dtype and strides in bytes.")
      .def_property_readonly("handle", &Surface::handle,
                             "The IOSurfaceRef on the Mac, the base address elsewhere.")
      .def("view", &view_of, "A writable array of the surface, no copy; it keeps the memory alive.")
      .def("write", &write, py::arg("values"), "Copies values in, converting into the rows.")
      .def("read", &read, "A new dense array in the surface's dtype.")
      .def("read_f32", &read_f32, "A new dense array in float32.");
}

}  // namespace milane::bindings
