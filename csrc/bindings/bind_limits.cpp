// _core.limits: what this CPU can do at most, for benchmarks/.
#include <pybind11/numpy.h>

#include <string>

#include "bindings/bindings.h"
#include "core/error.h"
#include "host/limits.h"

namespace py = pybind11;

namespace milane::bindings {
namespace {

using Bytes = py::array_t<std::uint8_t, py::array::c_style>;

std::size_t whole(const Bytes& array) {
  const auto bytes = static_cast<std::size_t>(array.nbytes());
  const auto address = reinterpret_cast<std::uintptr_t>(array.data());
  if (bytes % 256 != 0 || address % 64 != 0) {
    throw Error(ErrorCode::kInvalidArgument,
                "limits: expected a multiple of 256 bytes at a multiple of 64, got " +
                    std::to_string(bytes));
  }
  return bytes;
}

}  // namespace

void bind_limits(py::module_& m) {
  auto l = m.def_submodule("limits", "What this CPU can do at most; see benchmarks/.");
  l.def(
      "multiply_adds",
      [](std::int64_t steps) {
        const py::gil_scoped_release release;
        return host::run_multiply_adds(steps);
      },
      py::arg("steps"),
      "Do float32 multiply-adds in registers on all threads; return how many operations.");
  l.def(
      "bf16_dots",
      [](std::int64_t steps) {
        const py::gil_scoped_release release;
        return host::run_bf16_dots(steps);
      },
      py::arg("steps"),
      "Do bf16 dot products in registers on all threads; return how many operations, or 0 where\n"
      "there are none.");
  l.def(
      "read",
      [](const Bytes& source) {
        const std::size_t bytes = whole(source);
        const void* const from = source.data();
        const py::gil_scoped_release release;
        return host::run_read(from, bytes);
      },
      py::arg("source").noconvert(), "Read all bytes on all threads; return a checksum.");
  l.def(
      "copy",
      [](Bytes target, const Bytes& source, bool streaming) {
        const std::size_t bytes = whole(source);
        if (whole(target) != bytes) {
          throw Error(ErrorCode::kInvalidArgument, "limits.copy: expected as many bytes in both");
        }
        void* const to = target.mutable_data();
        const void* const from = source.data();
        const py::gil_scoped_release release;
        host::run_copy(to, from, bytes, streaming);
      },
      py::arg("target").noconvert(), py::arg("source").noconvert(), py::arg("streaming") = false,
      "Copy all bytes on all threads, past the caches where asked and possible.");
}

}  // namespace milane::bindings
