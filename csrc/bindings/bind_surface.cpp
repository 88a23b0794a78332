// Surfaces: zero-copy views, and conversions straight into strided rows.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "backends.h"
#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/strided.h"
#include "core/half.h"

namespace py = pybind11;

namespace milane::bindings {
namespace {

Dims dims_of(const py::array& a) { return Dims(a.shape(), a.shape() + a.ndim()); }

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

// Throws unless the surface takes the array's elements, each of them.
void check_dtype(DType surface, const py::array& values) {
  if (!takes(surface, values.dtype().kind())) {
    throw Error(ErrorCode::kDType,
                "write: expected an array of " + std::string(dtype_name(surface)) + ", got " +
                    py::str(values.dtype()).cast<std::string>(),
                "convert it first, for example with array.astype(...)");
  }
  if (!is_integer(surface) || values.size() == 0) return;
  const auto numpy = py::module_::import("numpy");
  const py::dtype type = numpy_dtype(surface);
  if (numpy.attr("can_cast")(values.dtype(), type).cast<bool>()) return;
  const py::object range = numpy.attr("iinfo")(type);
  const py::object low = values.attr("min")(), high = values.attr("max")();
  if (py::int_(low) < range.attr("min") || py::int_(high) > range.attr("max")) {
    throw Error(ErrorCode::kInvalidArgument, "write: expected integers that fit " +
                                                 std::string(dtype_name(surface)) +
                                                 ", got larger ones");
  }
}

void check_same_shape(const py::array& part, const py::array& other) {
  if (dims_of(part) != dims_of(other)) {
    throw Error(ErrorCode::kInvalidArgument, "surface: expected shape " + to_string(dims_of(part)) +
                                                 ", got " + to_string(dims_of(other)));
  }
}

void write(Surface& s, const py::array& part, const py::array& values) {
  check_same_shape(part, values);
  check_dtype(s.layout().dtype(), values);
  const Surface::Lock lock(s, true);
  assign(part, values);
}

void read_into(Surface& s, const py::array& part, const py::array& out) {
  check_same_shape(part, out);
  const Surface::Lock lock(s, false);
  assign(out, part);
}

void copy_from(Surface& s, const py::array& part, Surface& source, const py::array& source_part) {
  const DType to = s.layout().dtype(), from = source.layout().dtype();
  if (to != from) {
    throw Error(ErrorCode::kDType, "copy: expected a surface of " + std::string(dtype_name(to)) +
                                       ", got one of " + std::string(dtype_name(from)));
  }
  check_same_shape(part, source_part);
  const Surface::Lock reading(source, false);
  const Surface::Lock writing(s, true);
  assign(part, source_part);
}

// How a part of the view lies in the surface; the bytes are all of the surface's.
TensorLayout part_layout(const Surface& s, const py::array& part) {
  return {s.layout().dtype(), dims_of(part), Dims(part.strides(), part.strides() + part.ndim()),
          s.layout().alloc_size()};
}

// Calls f(offset, done, n) for the stretches without padding of `count` elements from `start` on.
template <class F>
void for_each_stretch(const TensorLayout& l, std::int64_t start, std::int64_t count, const F& f) {
  const std::int64_t width = l.width();
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t column = (start + done) % width;
    const std::int64_t n = std::min(count - done, width - column);
    f(l.row_offset((start + done) / width) + static_cast<std::size_t>(column) * l.elem_size(), done,
      n);
    done += n;
  }
}

using Starts = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;

// values[i, :] to the elements from starts[i] on, counted in row-major order.
void write_runs(Surface& s, const Starts& starts, const py::array& values) {
  const TensorLayout& l = s.layout();
  check_dtype(l.dtype(), values);
  if (starts.ndim() != 1 || values.ndim() != 2 || values.shape(0) != starts.shape(0)) {
    throw Error(ErrorCode::kInvalidArgument, "surface: expected a run of values for each of " +
                                                 to_string(dims_of(starts)) + " places, got " +
                                                 to_string(dims_of(values)));
  }
  const std::int64_t count = values.shape(1), elements = l.logical_elements();
  const std::int64_t* at = starts.data();
  for (py::ssize_t i = 0; i < starts.size(); ++i) {
    if (at[i] < 0 || at[i] > elements - count) {
      throw Error(ErrorCode::kInvalidArgument,
                  "surface: expected places in [0, " + std::to_string(elements) + "), got " +
                      std::to_string(at[i] < 0 ? at[i] : at[i] + count - 1));
    }
  }
  const bool narrow = l.dtype() == DType::kFp16 && values.dtype().equal(py::dtype::of<float>());
  const py::dtype type = narrow ? py::dtype::of<float>() : numpy_dtype(l.dtype());
  py::array dense = values;
  if (!(values.flags() & py::array::c_style) || !values.dtype().equal(type)) {
    dense = py::array(type, std::vector<py::ssize_t>{values.shape(0), values.shape(1)});
    assign(dense, values);
  }
  const auto* from = static_cast<const std::byte*>(dense.data());
  const std::size_t size = static_cast<std::size_t>(dense.itemsize());
  py::gil_scoped_release release;
  const Surface::Lock lock(s, true);
  for (py::ssize_t i = 0; i < starts.size(); ++i, from += static_cast<std::size_t>(count) * size) {
    for_each_stretch(l, at[i], count, [&](std::size_t offset, std::int64_t first, std::int64_t n) {
      std::byte* to = lock.data() + offset;
      const std::byte* run = from + static_cast<std::size_t>(first) * size;
      if (narrow) {
        convert_float_to_half(reinterpret_cast<Half*>(to), reinterpret_cast<const float*>(run),
                              static_cast<std::size_t>(n));
      } else {
        std::memcpy(to, run, static_cast<std::size_t>(n) * size);
      }
    });
  }
}

void write_bytes(Surface& s, const py::object& data) {
  Py_buffer buffer;
  if (PyObject_GetBuffer(data.ptr(), &buffer, PyBUF_SIMPLE) != 0) throw py::error_already_set();
  const std::unique_ptr<Py_buffer, decltype(&PyBuffer_Release)> held(&buffer, &PyBuffer_Release);
  const std::size_t size = s.layout().alloc_size();
  if (static_cast<std::size_t>(buffer.len) != size) {
    throw Error(ErrorCode::kInvalidArgument, "write: expected the " + std::to_string(size) +
                                                 " bytes of the layout, got " +
                                                 std::to_string(buffer.len));
  }
  py::gil_scoped_release release;
  const Surface::Lock lock(s, true);
  std::memcpy(lock.data(), buffer.buf, size);
}

py::bytes read_bytes(Surface& s) {
  const std::size_t size = s.layout().alloc_size();
  py::bytes out(nullptr, size);
  char* to = PyBytes_AS_STRING(out.ptr());
  py::gil_scoped_release release;
  const Surface::Lock lock(s, false);
  std::memcpy(to, lock.data(), size);
  return out;
}

// The buffer of a Python object with an attribute `array` is that array's: it keeps the memory.
int buffer_of_array(PyObject* self, Py_buffer* buffer, int flags) {
  PyObject* array = PyObject_GetAttrString(self, "array");
  if (!array) return -1;
  const int failed = PyObject_GetBuffer(array, buffer, flags);
  Py_DECREF(array);
  return failed;
}

py::object exporter_type() {
  static PyType_Slot slots[] = {
      {Py_bf_getbuffer, reinterpret_cast<void*>(&buffer_of_array)},
      {Py_tp_doc, const_cast<char*>("Base of classes whose buffer is their attribute `array`.")},
      {0, nullptr}};
  static PyType_Spec spec{"milane._core.ExportsArray", 0, 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
  return py::reinterpret_steal<py::object>(PyType_FromSpec(&spec));
}

}  // namespace

void bind_surface(py::module_& m) {
  m.attr("ExportsArray") = exporter_type();
  py::class_<Surface, SurfacePtr>(m, "Surface", "Memory with a layout; see milane.Surface.")
      .def_property_readonly("layout", &Surface::layout, py::return_value_policy::copy,
                             "Shape, dtype and strides in bytes.")
      .def_property_readonly("handle", &Surface::handle,
                             "The IOSurfaceRef on the Mac, the base address elsewhere.")
      .def("view", &view_of, "A writable array of the surface, no copy; it keeps the memory alive.")
      .def("write", &write, py::arg("part"), py::arg("values"),
           "Copies values into a part of the view, converting into the rows.")
      .def("read_into", &read_into, py::arg("part"), py::arg("out"),
           "Copies a part of the view out, converting from the rows.")
      .def("copy_from", &copy_from, py::arg("part"), py::arg("source"), py::arg("source_part"),
           "Copies a part of another surface's view into a part of this one's.")
      .def("part_layout", &part_layout, py::arg("part"), "How a part of the view lies in it.")
      .def("write_runs", &write_runs, py::arg("starts"), py::arg("values"),
           "Copies values[i, :] to the elements from starts[i] on, counted row by row.")
      .def("write_bytes", &write_bytes, py::arg("data"), "Copies all bytes in, padding included.")
      .def("read_bytes", &read_bytes, "All bytes, padding included.");
}

}  // namespace milane::bindings
