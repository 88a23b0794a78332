// _core.mil.Builder: a function made operation by operation.
#include "bindings/mil_objects.h"
#include "bindings/mil_value.h"
#include "mil/builder.h"

namespace py = pybind11;

namespace milane::bindings {

using namespace milane::mil;  // NOLINT: this file is about nothing else

namespace {

// What Python needs of each result: its name and its type.
py::list results(const std::vector<NamedType>& named) {
  py::list list;
  for (const auto& item : named) list.append(py::make_tuple(item.name, item.type));
  return list;
}

py::list add(Builder& self, const std::string& type, const std::string& name,
             const py::dict& inputs, const py::dict& attributes,
             const std::vector<std::shared_ptr<Block>>& blocks, const py::iterable& types) {
  auto operation = make_operation(type, py::tuple(), inputs, attributes, "");
  operation->blocks = blocks;
  for (const auto& result : types) operation->outputs.push_back({"", type_from(result), {}});
  return results(self.add(operation, name));
}

}  // namespace

void bind_builder(py::module_& m) {
  py::class_<Builder>(m, "Builder",
                      "Makes a function of a program operation by operation, inferring types.")
      .def(py::init<ProgramPtr, FunctionPtr>(), py::arg("program").none(false),
           py::arg("function").none(false))
      .def_property_readonly("function", &Builder::function, "The function as far as it is made.")
      .def(
          "input",
          [](Builder& self, const std::string& name, const py::object& type) {
            self.input({checked_name(name, "input"), type_from(type), {}});
          },
          py::arg("name"), py::arg("type"), "Adds a parameter.")
      .def("add", &add, py::arg("type"), py::arg("name"), py::arg("inputs"),
           py::arg("attributes") = py::dict(),
           py::arg("blocks") = std::vector<std::shared_ptr<Block>>{},
           py::arg("types") = py::tuple(),
           "Adds an operation; its results as pairs of name and type.\n\n"
           "`types` are the results' where the operation's rule cannot tell (classify).\n"
           "One result is called `name`, several name_0, name_1, ... Raises MILVerifyError where\n"
           "the arguments do not fit, and then adds nothing.")
      .def(
          "constant",
          [](Builder& self, const std::string& name, const Value& value) {
            return self.constant(name, value).type;
          },
          py::arg("name"), py::arg("value"), "Adds a constant; its type.")
      .def(
          "begin_block",
          [](Builder& self, const py::iterable& inputs) { self.begin_block(named_types(inputs)); },
          py::arg("inputs") = py::tuple(),
          "Starts a nested block: what is added from here on is the block's.")
      .def("end_block", &Builder::end_block, py::arg("outputs"),
           "Ends the block that was started last, with these results; the block, for add().")
      .def("rename", &Builder::rename, py::arg("old"), py::arg("new"),
           "Renames a value wherever it stands. Raises MILVerifyError when `new` is taken.");
}

}  // namespace milane::bindings
