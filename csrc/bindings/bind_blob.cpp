// _core.blob: MIL Blob Storage v2 (csrc/blob).
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "blob/format.h"
#include "blob/large_memory.h"
#include "blob/reader.h"
#include "blob/writer.h"
#include "core/error.h"
#include "core/half.h"

namespace py = pybind11;

namespace milane::bindings {
namespace {

using blob::BlobFile;
using blob::BlobWriter;
using blob::Problem;
using blob::Record;

// A contiguous Python buffer as bytes. May be destroyed without the GIL.
class Buffer {
 public:
  Buffer(const py::object& source, const char* where) {
    if (PyObject_GetBuffer(source.ptr(), &view_, PyBUF_SIMPLE) == 0) return;
    PyErr_Clear();
    throw Error(ErrorCode::kInvalidArgument,
                std::string(where) + ": expected contiguous bytes, got " +
                    std::string(py::str(py::type::of(source).attr("__name__"))));
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    const py::gil_scoped_acquire gil;
    PyBuffer_Release(&view_);
  }

  std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)};
  }

 private:
  Py_buffer view_{};
};

DType dtype_of(const std::string& name) {
  const auto dtype = dtype_from_name(name);
  if (!dtype || !blob::code_from_dtype(*dtype)) {
    std::string known;
    for (const auto t : blob::kDTypes)
      known += (known.empty() ? "" : ", ") + std::string(dtype_name(t));
    throw Error(ErrorCode::kDType, "blob: expected one of " + known + ", got " + name);
  }
  return *dtype;
}

// A read-only view that keeps the file mapped; sub-byte records are unpacked into a new array.
py::array array_of(const Record& record) {
  const py::dtype dtype = numpy_dtype(record.dtype);
  const auto count = static_cast<py::ssize_t>(record.count);
  if (is_sub_byte(record.dtype)) {
    py::array values(dtype, std::vector<py::ssize_t>{count});
    auto* out = static_cast<std::byte*>(values.mutable_data());
    {
      const py::gil_scoped_release nogil;
      blob::unpack(record, out);
    }
    return values;
  }
  auto owner = std::make_unique<std::shared_ptr<const void>>(record.owner);
  const py::capsule keep(owner.get(),
                         [](void* p) { delete static_cast<std::shared_ptr<const void>*>(p); });
  owner.release();
  py::array view(dtype, std::vector<py::ssize_t>{count}, std::vector<py::ssize_t>{dtype.itemsize()},
                 record.data.data(), keep);
  view.attr("setflags")(py::arg("write") = false);
  return view;
}

std::string repr(const Record& r) {
  return "Record(offset=" + std::to_string(r.offset) + ", dtype='" +
         std::string(dtype_name(r.dtype)) + "', count=" + std::to_string(r.count) +
         ", nbytes=" + std::to_string(r.data.size()) + ")";
}

void bind_reader(py::module_& m) {
  py::class_<Record>(m, "Record", "One weight of a blob file.")
      .def_readonly("offset", &Record::offset)
      .def_readonly("data_offset", &Record::data_offset)
      .def_property_readonly("dtype", [](const Record& r) { return dtype_name(r.dtype); })
      .def_property_readonly("nbytes", [](const Record& r) { return r.data.size(); })
      .def_readonly("count", &Record::count)
      .def_property_readonly("array", &array_of)
      .def("tobytes",
           [](const Record& r) {
             return py::bytes(reinterpret_cast<const char*>(r.data.data()), r.data.size());
           })
      .def("__repr__", &repr);

  py::class_<Problem>(m, "Problem", "Something wrong in a blob file.")
      .def_readonly("record", &Problem::record)
      .def_readonly("offset", &Problem::offset)
      .def_readonly("expected", &Problem::expected)
      .def_readonly("got", &Problem::got)
      .def("__str__", &Problem::message)
      .def("__repr__", [](const Problem& p) { return "Problem('" + p.message() + "')"; });

  py::class_<BlobFile>(m, "BlobFile", "A MIL Blob Storage v2 file, mapped or in memory.")
      .def_static("open", &BlobFile::open, py::arg("path"))
      .def_static(
          "over",
          [](const py::object& data, std::string name) {
            auto buffer = std::make_shared<const Buffer>(data, "BlobFile.over");
            const auto bytes = buffer->bytes();
            return BlobFile(bytes, std::move(buffer), std::move(name));
          },
          py::arg("data"), py::arg("name") = "<bytes>")
      .def_property_readonly("name", &BlobFile::name)
      .def_property_readonly("nbytes", [](const BlobFile& f) { return f.bytes().size(); })
      .def("record_at", &BlobFile::record_at, py::arg("offset"),
           py::call_guard<py::gil_scoped_release>())
      .def("records", &BlobFile::records, py::call_guard<py::gil_scoped_release>())
      .def("check", &BlobFile::check, py::call_guard<py::gil_scoped_release>())
      .def("__repr__", [](const BlobFile& f) {
        return "BlobFile('" + f.name() + "', nbytes=" + std::to_string(f.bytes().size()) + ")";
      });
}

// Floats of a contiguous Python buffer.
std::span<const float> floats(const Buffer& buffer) {
  const auto bytes = buffer.bytes();
  if (bytes.size() % sizeof(float) != 0 ||
      reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(float) != 0) {
    throw Error(ErrorCode::kInvalidArgument, "BlobWriter: expected aligned fp32 values");
  }
  return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
}

// Room for `size` bytes that nobody else sees until they are written.
py::bytes bytes_of_size(std::uint64_t size) {
  PyObject* bytes = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size));
  if (bytes == nullptr) throw py::error_already_set();
  blob::expect_large_write(reinterpret_cast<std::byte*>(PyBytes_AS_STRING(bytes)),
                           static_cast<std::size_t>(size));
  return py::reinterpret_steal<py::bytes>(bytes);
}

std::byte* data_of(const py::bytes& bytes) {
  return reinterpret_cast<std::byte*>(PyBytes_AS_STRING(bytes.ptr()));
}

// A record to come: dtype, elements, their number, and whether these are floats to be rounded.
using Part = std::tuple<std::string, py::object, std::int64_t, bool>;

// A whole file, written once, straight into the bytes that are returned; and its records' offsets.
py::tuple assemble(const std::vector<Part>& parts) {
  std::vector<std::unique_ptr<const Buffer>> buffers;
  std::vector<DType> dtypes;
  std::uint64_t size = sizeof(blob::FileHeader);
  for (const auto& [dtype, data, count, rounds] : parts) {
    buffers.push_back(std::make_unique<const Buffer>(data, "blob.assemble"));
    dtypes.push_back(dtype_of(dtype));
    const auto& buffer = *buffers.back();
    size = blob::size_with_record(
        size, rounds ? floats(buffer).size() * sizeof(Half) : buffer.bytes().size());
  }
  py::bytes file = bytes_of_size(size);
  std::vector<std::uint64_t> offsets;
  auto* out = data_of(file);
  {
    const py::gil_scoped_release nogil;
    auto writer = BlobWriter::over({out, static_cast<std::size_t>(size)});
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto& [dtype, data, count, rounds] = parts[i];
      offsets.push_back(rounds ? writer.add_halves(floats(*buffers[i]))
                               : writer.add(dtypes[i], buffers[i]->bytes(), count));
    }
    writer.finish();
  }
  return py::make_tuple(std::move(file), offsets);
}

void bind_writer(py::module_& m) {
  py::class_<BlobWriter>(m, "BlobWriter", "Writes a blob file, in memory or into a file.")
      .def(py::init<>())
      .def_static("to_file", &BlobWriter::to_file, py::arg("path"))
      .def(
          "add",
          [](BlobWriter& w, const std::string& dtype, const py::object& data, std::int64_t count) {
            const DType t = dtype_of(dtype);
            const Buffer buffer(data, "BlobWriter.add");
            const py::gil_scoped_release nogil;
            return w.add(t, buffer.bytes(), count);
          },
          py::arg("dtype"), py::arg("data"), py::arg("count"))
      .def(
          "add_halves",
          [](BlobWriter& w, const py::object& values) {
            const Buffer buffer(values, "BlobWriter.add");
            const py::gil_scoped_release nogil;
            return w.add_halves(floats(buffer));
          },
          py::arg("values"))
      .def(
          "begin",
          [](BlobWriter& w, const std::string& dtype, std::int64_t count) {
            w.begin(dtype_of(dtype), count);
          },
          py::arg("dtype"), py::arg("count"))
      .def(
          "append",
          [](BlobWriter& w, const py::object& data) {
            const Buffer buffer(data, "BlobWriter.append");
            const py::gil_scoped_release nogil;
            w.append(buffer.bytes());
          },
          py::arg("data"))
      .def(
          "append_halves",
          [](BlobWriter& w, const py::object& values) {
            const Buffer buffer(values, "BlobWriter.append");
            const py::gil_scoped_release nogil;
            w.append_halves(floats(buffer));
          },
          py::arg("values"))
      .def("end", &BlobWriter::end)
      .def_property_readonly("count", &BlobWriter::count)
      .def_property_readonly("nbytes", &BlobWriter::size)
      .def("offset", &BlobWriter::offset, py::arg("index"))
      .def("data_offset", &BlobWriter::data_offset, py::arg("index"))
      .def("build",
           [](const BlobWriter& w) {
             py::bytes file = bytes_of_size(w.build_bytes());
             auto* out = data_of(file);
             const py::gil_scoped_release nogil;
             w.build_into(out);
             return file;
           })
      .def("save", &BlobWriter::save, py::arg("path"), py::call_guard<py::gil_scoped_release>())
      .def("finish", &BlobWriter::finish, py::call_guard<py::gil_scoped_release>())
      .def("abort", &BlobWriter::abort);
}

}  // namespace

void bind_blob(py::module_& m) {
  auto sub = m.def_submodule("blob", "MIL Blob Storage v2: reader, writer, checker.");
  bind_reader(sub);
  bind_writer(sub);
  sub.def("assemble", &assemble, py::arg("parts"));
  sub.def(
      "pack",
      [](const std::string& dtype, const py::object& values) {
        const Buffer buffer(values, "blob.pack");
        std::vector<std::byte> packed;
        {
          const py::gil_scoped_release nogil;
          packed = blob::pack(dtype_of(dtype), buffer.bytes());
        }
        return py::bytes(reinterpret_cast<const char*>(packed.data()), packed.size());
      },
      py::arg("dtype"), py::arg("values"));
  py::list codes;
  for (const auto t : blob::kDTypes) codes.append(dtype_name(t));
  sub.attr("DTYPES") = py::tuple(codes);  // the name of code i is DTYPES[i - 1]
}

}  // namespace milane::bindings
