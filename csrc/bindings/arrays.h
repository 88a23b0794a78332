// dtypes between NumPy and the native library.
#pragma once

#include <pybind11/numpy.h>

#include "core/dtype.h"
#include "core/error.h"

namespace milane::bindings {

// bf16, fp8 and sub-byte types have no NumPy type: their raw bits, or one element per byte.
inline pybind11::dtype numpy_dtype(DType t) {
  namespace py = pybind11;
  switch (t) {
    case DType::kBool:
      return py::dtype("?");
    case DType::kFp16:
      return py::dtype("e");
    case DType::kFp32:
      return py::dtype("f");
    case DType::kFp64:
      return py::dtype("d");
    case DType::kBf16:
    case DType::kUInt16:
      return py::dtype("u2");
    case DType::kInt4:
    case DType::kInt8:
      return py::dtype("i1");
    case DType::kInt16:
      return py::dtype("i2");
    case DType::kInt32:
      return py::dtype("i4");
    case DType::kInt64:
      return py::dtype("i8");
    case DType::kUInt32:
      return py::dtype("u4");
    case DType::kUInt64:
      return py::dtype("u8");
    default:
      return py::dtype("u1");
  }
}

// "fp16" or anything NumPy takes for a dtype.
inline DType dtype_of(const pybind11::object& o) {
  namespace py = pybind11;
  if (py::isinstance<py::str>(o)) {
    if (const auto t = dtype_from_name(o.cast<std::string>())) return *t;
  }
  py::dtype d;
  try {
    d = py::dtype::from_args(o);
  } catch (py::error_already_set&) {
    throw Error(ErrorCode::kDType, "dtype: expected a MIL or NumPy numeric type, got " +
                                       py::str(o).cast<std::string>());
  }
  const char kind = d.kind();
  const auto size = d.itemsize();
  if (kind == 'b') return DType::kBool;
  if (kind == 'f' && size == 2) return DType::kFp16;
  if (kind == 'f' && size == 4) return DType::kFp32;
  if (kind == 'f' && size == 8) return DType::kFp64;
  if (kind == 'i' || kind == 'u') {
    const bool s = kind == 'i';
    if (size == 1) return s ? DType::kInt8 : DType::kUInt8;
    if (size == 2) return s ? DType::kInt16 : DType::kUInt16;
    if (size == 4) return s ? DType::kInt32 : DType::kUInt32;
    if (size == 8) return s ? DType::kInt64 : DType::kUInt64;
  }
  throw Error(ErrorCode::kDType,
              "dtype: expected a MIL or NumPy numeric type, got " + py::str(o).cast<std::string>());
}

}  // namespace milane::bindings
