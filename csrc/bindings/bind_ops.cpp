// _core.mil.ops(): the rows of csrc/mil/ops.def, for the documentation and the parity tests.
#include <pybind11/stl.h>

#include <string>

#include "bindings/bindings.h"
#include "mil/schema.h"

namespace py = pybind11;

namespace milane::bindings {

namespace {

using mil::ArgSchema;
using mil::HostSupport;
using mil::OpSchema;
using mil::Type;

const char* host_name(HostSupport host) {
  switch (host) {
    case HostSupport::kFunction:
      return "function";
    case HostSupport::kElementwise:
      return "elementwise";
    case HostSupport::kView:
      return "view";
    case HostSupport::kPlan:
      return "plan";
    case HostSupport::kNone:
      return "none";
  }
  return "none";
}

const char* kind_name(const ArgSchema& arg) {
  if (arg.any_kind) return "any";
  switch (arg.kind) {
    case Type::Kind::kList:
      return "list";
    case Type::Kind::kState:
      return "state";
    case Type::Kind::kTensorBuffer:
      return "tensor_buffer";
    default:
      return "tensor";
  }
}

std::vector<std::string> dtype_names(const ArgSchema& arg) {
  std::vector<std::string> names;
  for (const auto dtype : arg.dtypes) names.emplace_back(dtype_name(dtype));
  return names;
}

// A number, a bool or a string; None where there is no default.
py::object default_of(const ArgSchema& arg) {
  if (!arg.fallback) return py::none();
  const auto& value = *arg.fallback;
  if (value.type.dtype == DType::kString) return py::str(value.strings.front());
  if (value.type.dtype == DType::kBool) return py::bool_(value.integer() != 0);
  if (is_float(value.type.dtype)) return py::float_(value.number());
  return py::int_(value.integer());
}

}  // namespace

void bind_ops(py::module_& m) {
  py::class_<ArgSchema>(m, "ArgSchema", "One argument of an operation.")
      .def_readonly("name", &ArgSchema::name)
      .def_readonly("optional", &ArgSchema::optional)
      .def_readonly("constant", &ArgSchema::constant)
      .def_readonly("variadic", &ArgSchema::variadic)
      .def_property_readonly("kind", &kind_name)
      .def_property_readonly("dtypes", &dtype_names)
      .def_property_readonly("domain",
                             [](const ArgSchema& arg) {
                               return arg.domain ? std::string(1, arg.domain) : std::string();
                             })
      .def_property_readonly("default", &default_of)
      .def_property_readonly("since",
                             [](const ArgSchema& arg) -> py::object {
                               if (arg.since.empty()) return py::none();
                               return py::str(arg.since);
                             })
      .def("__repr__",
           [](const ArgSchema& arg) { return "<milane.mil.ArgSchema " + arg.name + ">"; });

  py::class_<OpSchema>(m, "OpSchema", "One operation: its arguments and since when it exists.")
      .def_property_readonly("name", [](const OpSchema& op) { return std::string(op.name); })
      .def_property_readonly("since", [](const OpSchema& op) { return std::string(op.since); })
      .def_property_readonly("host", [](const OpSchema& op) { return host_name(op.host); })
      .def_readonly("args", &OpSchema::args)
      .def_readonly("open", &OpSchema::open)
      .def("__repr__",
           [](const OpSchema& op) { return "<milane.mil.OpSchema " + std::string(op.name) + ">"; });

  m.def(
      "ops",
      [] {
        py::list all;
        for (const auto& op : mil::all_ops()) {
          all.append(py::cast(&op, py::return_value_policy::reference));  // the table never dies
        }
        return all;
      },
      "Every operation of the language, in the order of csrc/mil/ops.def.");
}

}  // namespace milane::bindings
