// _core.mil: what the device's compiler takes, and how a program gets there.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <string>
#include <vector>

#include "backend/ane_limits.h"
#include "backend/device_program.h"
#include "bindings/bindings.h"
#include "bindings/dims_caster.h"
#include "bindings/mil_objects.h"

namespace py = pybind11;

namespace milane::bindings {
namespace {

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> all;
  while (!text.empty()) {
    const auto word = text.substr(0, text.find(' '));
    all.emplace_back(word);
    text.remove_prefix(std::min(word.size() + 1, text.size()));
  }
  return all;
}

py::list findings(const mil::ProgramPtr& program) {
  std::vector<LimitFinding> broken;
  {
    const py::gil_scoped_release release;
    broken = broken_limits(*program);
  }
  py::list all;
  for (const auto& f : broken) {
    all.append(py::make_tuple(std::string(f.rule->id), f.location.line, f.location.column,
                              f.message, std::string(f.rule->hint), f.rule->malformed));
  }
  return all;
}

}  // namespace

void bind_device(py::module_& m) {
  py::class_<LimitRule>(m, "LimitRule", "One thing that the device's compiler refuses.")
      .def_property_readonly("id", [](const LimitRule& r) { return std::string(r.id); })
      .def_property_readonly(
          "rule", [](const LimitRule& r) { return std::string(r.rule); },
          "What holds of a program that compiles.")
      .def_property_readonly("source", [](const LimitRule& r) { return std::string(r.source); })
      .def_property_readonly("confidence",
                             [](const LimitRule& r) { return std::string(r.confidence); })
      .def_property_readonly("hint", [](const LimitRule& r) { return std::string(r.hint); })
      .def_readonly("malformed", &LimitRule::malformed,
                    "Whether the compiler says InvalidMILProgram; else CompilationFailure.")
      .def_property_readonly(
          "operations", [](const LimitRule& r) { return words(r.operations); },
          "Operations that are refused wherever they stand.")
      .def("__repr__", [](const LimitRule& r) { return "<LimitRule " + std::string(r.id) + ">"; });

  m.def(
      "limit_rules",
      [] {
        py::list all;
        for (const auto& rule : limit_rules()) {
          all.append(py::cast(&rule, py::return_value_policy::reference));  // the table never dies
        }
        return all;
      },
      "Every known hard limit of the device's compiler, as data with sources.");
  m.def(
      "broken_limits", &findings, py::arg("program").none(false),
      "The hard limits that a program breaks, in text order: a list of tuples\n"
      "(id, line, column, message, hint, malformed). Empty: nothing known against it.\n\n"
      "Types are taken as declared. The limits are published ones; nothing was tried on a device.");
  m.def(
      "device_program",
      [](const mil::ProgramPtr& program, const std::string& function,
         const std::map<std::string, Dims>& shapes) {
        const py::gil_scoped_release release;
        bool changed = false;
        auto result = device_program(*program, function, shapes, &changed);
        return std::pair(std::move(result), changed);
      },
      py::arg("program").none(false), py::arg("function") = "",
      py::arg("shapes") = std::map<std::string, Dims>{},
      "The program in the form that the device's compiler takes, and whether that is another "
      "one.\n\n"
      "Flexible shapes are fixed, inline operands become named constants, buildInfo is added "
      "where\n"
      "there is none. It computes the same, to the bit.\n\n"
      "function: the one whose shapes count; empty: \"main\", or the only one.\n"
      "shapes: by input; those left out take their default.\n\n"
      "Raises:\n    InvalidArgumentError: no such function or input, or a shape that does not "
      "fit.\n"
      "    MILVerifyError: an operation does not take the shapes.\n"
      "    CompileError: a shape depends on values that only a run gives.\n"
      "    UnsupportedOpError: control flow in a function with flexible shapes.");
}

}  // namespace milane::bindings
