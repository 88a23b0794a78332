// milane._core.mil: programs as Python objects.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "bindings/bindings.h"
#include "bindings/mil_objects.h"
#include "bindings/mil_value.h"
#include "core/error.h"
#include "mil/diff.h"
#include "mil/package.h"
#include "mil/parser.h"
#include "mil/printer.h"
#include "mil/program.h"
#include "mil/verify.h"

namespace py = pybind11;

namespace milane::bindings {
namespace {

using namespace milane::mil;  // NOLINT: this file is about nothing else

// The UTF-8 bytes of str or bytes; valid as long as the object lives.
std::string_view text_of(const py::object& text) {
  py::ssize_t size = 0;
  if (PyUnicode_Check(text.ptr())) {
    const char* data = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
    if (data == nullptr) throw py::error_already_set();
    return {data, static_cast<std::size_t>(size)};
  }
  char* data = nullptr;
  if (!PyBytes_Check(text.ptr())) {
    throw Error(ErrorCode::kDType, "parse: expected str or bytes, got " +
                                       py::str(py::type::of(text)).cast<std::string>());
  }
  PyBytes_AsStringAndSize(text.ptr(), &data, &size);
  return {data, static_cast<std::size_t>(size)};
}

std::string path_of(const py::object& path) {
  return py::module_::import("os").attr("fspath")(path).cast<std::string>();
}

template <class Visit>
void for_each_operation(const Block& block, Visit&& visit) {
  for (const auto& op : block.operations) {
    visit(*op);
    for (const auto& nested : op->blocks) for_each_operation(*nested, visit);
  }
}

void bind_program(py::module_& m) {
  py::class_<Program, ProgramPtr> program(
      m, "Program", "A MIL program: functions and attributes. str() prints it.");
  program
      .def(py::init([](const std::string& version) {
             auto p = std::make_shared<Program>();
             p->version = parse("program(" + version + "){}")->version;
             return p;
           }),
           py::arg("version") = "1.3")
      .def_property_readonly(
          "version", [](const Program& self) { return self.version; },
          "Version of the language; 1.0 spells scalars tensor<fp16, []>, later ones fp16.")
      .def_property_readonly("source_name", [](const Program& self) { return self.source_name; })
      .def_property_readonly(
          "source", [](const Program& self) { return self.source; },
          "The text the program was parsed from; empty when it was built.")
      .def_property_readonly(
          "functions", [](const Program& self) { return self.functions; },
          "The functions in text order: a new list of the functions themselves.")
      .def(
          "__getitem__",
          [](const Program& self, const std::string& name) {
            for (const auto& f : self.functions) {
              if (f->name == name) return f;
            }
            throw py::key_error(name);
          },
          py::arg("name"))
      .def(
          "__contains__",
          [](const Program& self, const std::string& name) {
            return self.function(name) != nullptr;
          },
          py::arg("name"))
      .def(
          "add_function",
          [](Program& self, const FunctionPtr& f) {
            if (self.function(f->name) != nullptr) {
              invalid("add_function: expected a new name, got '" + f->name + "', which is taken");
            }
            self.functions.push_back(f);
          },
          py::arg("function").none(false), "Adds a function behind the others.")
      .def(
          "remove_function",
          [](Program& self, const std::string& name) {
            const auto found = std::find_if(self.functions.begin(), self.functions.end(),
                                            [&](const FunctionPtr& f) { return f->name == name; });
            if (found == self.functions.end()) throw py::key_error(name);
            self.functions.erase(found);
          },
          py::arg("name"), "Removes a function. Raises KeyError when there is none.")
      .def(
          "histogram",
          [](const Program& self) {
            std::map<std::string, int> result;
            for (const auto& f : self.functions) {
              for_each_operation(f->body, [&](const Operation& op) { ++result[op.type]; });
            }
            return result;
          },
          "How often each operation occurs, const and nested blocks included.")
      .def(
          "verify",
          [](const Program& self) {
            const py::gil_scoped_release release;
            verify(self);
          },
          "Checks names, arguments, types and shapes.\n\n"
          "Raises MILVerifyError at the first fault, with line and column.")
      .def(
          "copy", [](const Program& self) { return self.clone(); },
          "A deep copy: no edit of one changes the other.")
      .def(
          "__eq__", [](const Program& a, const Program& b) { return equal(a, b); },
          py::is_operator())
      .def("__str__",
           [](const Program& self) {
             std::string text;
             {
               const py::gil_scoped_release release;
               text = print(self);
             }
             return text;
           })
      .def("__repr__", [](const Program& self) {
        std::string text = "<Program " + self.version + ":";
        for (const auto& f : self.functions) text += " " + f->name;
        return text + ">";
      });
  program.attr("__hash__") = py::none();
  bind_attributes(program);
}

void bind_functions(py::module_& m) {
  py::class_<Difference>(m, "Difference", "One difference between two programs; str() says which.")
      .def_readonly("function", &Difference::function)
      .def_property_readonly(
          "index_a",
          [](const Difference& d) {
            return d.index_a < 0 ? std::nullopt : std::optional(d.index_a);
          },
          "Index of the operation in the first program's function; None where there is none.")
      .def_property_readonly("index_b",
                             [](const Difference& d) {
                               return d.index_b < 0 ? std::nullopt : std::optional(d.index_b);
                             })
      .def_readonly("kind", &Difference::kind)
      .def_readonly("text", &Difference::text)
      .def("__str__", [](const Difference& d) { return d.text; })
      .def("__repr__", [](const Difference& d) { return "<Difference " + d.text + ">"; });
  py::class_<Source>(m, "Source", "MIL text, its name for messages, and the folder of its weights.")
      .def_readonly("text", &Source::text)
      .def_readonly("name", &Source::name)
      .def_readonly("model_folder", &Source::model_folder)
      .def("__repr__", [](const Source& s) { return "<Source " + s.name + ">"; });

  m.def(
      "parse",
      [](const py::object& text, const std::string& source_name) {
        const auto view = text_of(text);
        const py::gil_scoped_release release;
        return parse(view, source_name);
      },
      py::arg("text"), py::arg("source_name") = "<text>",
      "The program that MIL text describes.\n\n"
      "text: str, or bytes in UTF-8. source_name: stands in front of line and column in "
      "messages.\n\n"
      "Raises:\n    MILSyntaxError: the text does not parse; the message gives name:line:column,\n"
      "        the line itself and a hint.\n    DTypeError: `text` is neither str nor bytes.");
  m.def(
      "load",
      [](const py::object& path) {
        const std::string name = path_of(path);
        const py::gil_scoped_release release;
        const Source source = read_source(name);
        return parse(source.text, source.name);
      },
      py::arg("path"),
      "The program of a .mil file or of a compiled model folder (.mlmodelc).\n\n"
      "Raises:\n    ModelFileError: no such file, no model.mil in the folder, or a .mlpackage.\n"
      "    MILSyntaxError: the text does not parse.");
  m.def(
      "read_source",
      [](const py::object& path) {
        const std::string name = path_of(path);
        const py::gil_scoped_release release;
        return read_source(name);
      },
      py::arg("path"),
      "The text of a .mil file, of a compiled model folder, or `path` itself when it is MIL "
      "text.\n\n"
      "Raises:\n    ModelFileError: no such file, no model.mil in the folder, or a .mlpackage.");
  m.def(
      "resolve_weight_path",
      [](const std::string& mil_path, const py::object& model_folder) {
        return resolve_weight_path(mil_path, path_of(model_folder));
      },
      py::arg("mil_path"), py::arg("model_folder"),
      "The file that the path of a BLOBFILE names, inside the model folder.\n\n"
      "Raises:\n    ModelFileError: the path does not start with @model_path/, has a `..`, or "
      "leaves\n"
      "        the folder through a symbolic link.");
  m.def(
      "diff",
      [](const ProgramPtr& a, const ProgramPtr& b, bool ops_only) {
        const py::gil_scoped_release release;
        return diff(*a, *b, ops_only);
      },
      py::arg("a").none(false), py::arg("b").none(false), py::kw_only(),
      py::arg("ops_only") = false,
      "Differences from program `a` to program `b`, whatever their values are called.\n\n"
      "Result names, `name` attributes, buildInfo and the order of arguments do not count; "
      "constants\n"
      "count where they are used. One operation more is one difference.\n"
      "ops_only: compares the sequences of operation types only.");
}

}  // namespace

void bind_mil(py::module_& m) {
  auto mil = m.def_submodule("mil", "MIL programs: parse, walk, edit, verify, print, compare.");
  bind_values(mil);
  bind_operation(mil);
  bind_function(mil);
  bind_program(mil);
  bind_builder(mil);
  bind_functions(mil);
}

}  // namespace milane::bindings
