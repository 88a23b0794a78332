// milane::Error becomes the class of the same meaning in milane.errors.
#include <array>
#include <string_view>

#include "bindings/bindings.h"
#include "core/error.h"

namespace py = pybind11;

namespace milane::bindings {
namespace {

// In the order of ErrorCode.
constexpr std::array<const char*, 17> kClasses{"InvalidArgumentError",
                                               "DTypeError",
                                               "MILSyntaxError",
                                               "MILVerifyError",
                                               "UnsupportedOpError",
                                               "CompileError",
                                               "CompileBudgetExhaustedError",
                                               "BlobError",
                                               "ModelFileError",
                                               "NoANEError",
                                               "MapFailedError",
                                               "UnsupportedSelectorError",
                                               "ModelLoadError",
                                               "EvalError",
                                               "UnsupportedLayoutError",
                                               "UnsupportedError",
                                               "ClosedError"};
static_assert(static_cast<std::size_t>(ErrorCode::kClosed) + 1 == kClasses.size());

void raise(const Error& e) {
  const py::object cls =
      py::module_::import("milane.errors").attr(kClasses[static_cast<std::size_t>(e.code())]);
  py::object value = cls(py::str(e.what()));
  value.attr("op") = e.stage();
  value.attr("cls") = e.device_class();
  value.attr("code") = e.number();
  value.attr("domain") = e.domain();
  value.attr("hint") = e.hint();
  value.attr("line") = e.line() > 0 ? py::object(py::int_(e.line())) : py::object(py::none());
  value.attr("column") = e.column() > 0 ? py::object(py::int_(e.column())) : py::object(py::none());
  PyErr_SetObject(cls.ptr(), value.ptr());
}

}  // namespace

void bind_errors(py::module_&) {
  py::register_local_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const Error& e) {
      try {
        raise(e);
      } catch (py::error_already_set& again) {
        again.restore();
      }
    }
  });
}

}  // namespace milane::bindings
