// Functions, blocks and operations of a program. Whatever Python receives is either owned through a
// shared_ptr or a copy, so no edit of a program can leave a dangling reference behind.
#include "bindings/mil_objects.h"

#include <functional>
#include <optional>

#include "bindings/mil_value.h"
#include "mil/printer.h"

namespace py = pybind11;

namespace milane::bindings {

using namespace milane::mil;  // NOLINT: this file is about nothing else

namespace {

NamedType named_type(py::handle item) {
  if (py::isinstance<NamedType>(item)) return item.cast<NamedType>();
  if (!py::isinstance<py::tuple>(item) || py::len(item) != 2) {
    throw Error(ErrorCode::kDType, "value: expected a NamedType or a pair (name, type)");
  }
  const auto pair = py::reinterpret_borrow<py::tuple>(item);
  return {checked_name(pair[0].cast<std::string>(), "value"), type_from(pair[1]), {}};
}

std::vector<Operand> names(const py::iterable& items) {
  std::vector<Operand> result;
  for (const auto item : items) {
    result.push_back({checked_name(item.cast<std::string>(), "output"), nullptr, {}});
  }
  return result;
}

std::vector<std::string> names_of(const std::vector<Operand>& operands) {
  std::vector<std::string> result;
  for (const auto& operand : operands) result.push_back(operand.name);
  return result;
}

Operand operand_from(py::handle item) {
  if (py::isinstance<py::str>(item)) {
    const auto name = item.cast<std::string>();
    if (name == "true" || name == "false") {  // as an argument, text would mean the literal
      invalid("argument: expected a value's name, got " + name,
              "write Value('bool(" + name + ")')");
    }
    return {checked_name(name, "argument"), nullptr, {}};
  }
  if (py::isinstance<Value>(item)) return {"", std::make_shared<Value>(item.cast<Value>()), {}};
  throw Error(ErrorCode::kDType, "argument: expected a value's name or a Value, got " +
                                     py::str(py::type::of(item)).cast<std::string>());
}

void set_argument(Operation& op, const std::string& name, py::handle given) {
  Argument argument;
  argument.name = checked_name(name, "argument");
  argument.is_tuple = py::isinstance<py::list>(given) || py::isinstance<py::tuple>(given);
  if (argument.is_tuple) {
    for (const auto item : given) argument.operands.push_back(operand_from(item));
  } else {
    argument.operands.push_back(operand_from(given));
  }
  for (auto& existing : op.arguments) {
    if (existing.name == name) {
      existing = std::move(argument);
      return;
    }
  }
  op.arguments.push_back(std::move(argument));
}

py::dict arguments(const Operation& op) {
  py::dict result;
  for (const auto& argument : op.arguments) {
    py::list operands;
    for (const auto& operand : argument.operands) {
      if (operand.is_name()) {
        operands.append(operand.name);
      } else {
        operands.append(py::cast(Value(*operand.value)));
      }
    }
    result[py::str(argument.name)] = operands;
  }
  return result;
}

Block& block_of(Block& block) { return block; }
Block& block_of(Function& function) { return function.body; }

// Calls visit(name) on every use of a value, in nested blocks too.
template <class Visit>
void for_each_use(Block& block, Visit&& visit) {
  for (auto& op : block.operations) {
    for (auto& argument : op->arguments) {
      for (auto& operand : argument.operands) {
        if (operand.is_name()) visit(operand.name);
      }
    }
    for (auto& nested : op->blocks) for_each_use(*nested, visit);
  }
  for (auto& output : block.outputs) visit(output.name);
}

template <class Visit>
void for_each_definition(Block& block, Visit&& visit) {
  for (auto& input : block.inputs) visit(input.name);
  for (auto& op : block.operations) {
    for (auto& output : op->outputs) visit(output.name);
    for (auto& nested : op->blocks) for_each_definition(*nested, visit);
  }
}

void rename_value(Block& block, const std::string& old_name, const std::string& new_name) {
  checked_name(new_name, "rename_value");
  if (old_name == new_name) return;
  bool found = false;
  bool taken = false;
  for_each_definition(block, [&](const std::string& name) {
    found = found || name == old_name;
    taken = taken || name == new_name;
  });
  if (!found) invalid("rename_value: expected a value of this function, got '" + old_name + "'");
  if (taken) invalid("rename_value: expected a free name, got '" + new_name + "', which is taken");
  const auto rename = [&](std::string& name) {
    if (name == old_name) name = new_name;
  };
  for_each_definition(block, rename);
  for_each_use(block, rename);
}

std::size_t replace_uses(Block& block, const std::string& old_name, const std::string& new_name) {
  checked_name(new_name, "replace_uses");
  std::size_t count = 0;
  for_each_use(block, [&](std::string& name) {
    if (name == old_name) {
      name = new_name;
      ++count;
    }
  });
  return count;
}

std::size_t position(const Block& block, const Operation& op) {
  for (std::size_t i = 0; i < block.operations.size(); ++i) {
    if (block.operations[i].get() == &op) return i;
  }
  return block.operations.size();
}

void insert(Block& block, py::ssize_t index, const OperationPtr& op) {
  const auto size = static_cast<py::ssize_t>(block.operations.size());
  if (position(block, *op) != block.operations.size()) {
    invalid("insert: expected an operation that is not in this block", "insert op.copy() instead");
  }
  if (index < 0) index = std::max<py::ssize_t>(0, index + size);
  block.operations.insert(block.operations.begin() + std::min(index, size), op);
}

// Walking and editing, alike on functions and on nested blocks.
template <class T>
void bind_block(py::class_<T, std::shared_ptr<T>>& cls) {
  cls.def_property(
      "inputs", [](T& self) { return block_of(self).inputs; },
      [](T& self, const py::iterable& items) { block_of(self).inputs = named_types(items); },
      "Parameters in text order: a copy. Assign a sequence to change them.");
  cls.def_property(
      "outputs", [](T& self) { return names_of(block_of(self).outputs); },
      [](T& self, const py::iterable& items) { block_of(self).outputs = names(items); },
      "Names of the results: a copy. Assign a sequence to change them.");
  cls.def_property_readonly(
      "operations", [](T& self) { return block_of(self).operations; },
      "The operations in order: a new list of the operations themselves.");
  cls.def("__len__", [](T& self) { return block_of(self).operations.size(); });
  cls.def(
      "append", [](T& self, const OperationPtr& op) { insert(block_of(self), PY_SSIZE_T_MAX, op); },
      py::arg("operation").none(false), "Adds an operation at the end.");
  cls.def(
      "insert",
      [](T& self, py::ssize_t index, const OperationPtr& op) { insert(block_of(self), index, op); },
      py::arg("index"), py::arg("operation").none(false),
      "Adds an operation in front of the one at `index`, as list.insert does.");
  cls.def(
      "remove",
      [](T& self, const OperationPtr& op) {
        auto& operations = block_of(self).operations;
        const auto at = position(block_of(self), *op);
        if (at == operations.size()) invalid("remove: expected an operation of this block");
        operations.erase(operations.begin() + static_cast<std::ptrdiff_t>(at));
      },
      py::arg("operation").none(false),
      "Takes an operation out. Uses of its results stay: see replace_uses().");
  cls.def(
      "index",
      [](T& self, const OperationPtr& op) {
        const auto at = position(block_of(self), *op);
        if (at == block_of(self).operations.size()) {
          invalid("index: expected an operation of this block");
        }
        return at;
      },
      py::arg("operation").none(false), "Position of an operation.");
  cls.def(
      "find",
      [](T& self, const std::string& name) {
        OperationPtr found;
        for (const auto& op : block_of(self).operations) {
          for (const auto& output : op->outputs) {
            if (output.name == name) found = op;
          }
        }
        return found;
      },
      py::arg("name"), "The operation that computes a value, or None.");
  cls.def(
      "rename_value",
      [](T& self, const std::string& old_name, const std::string& new_name) {
        rename_value(block_of(self), old_name, new_name);
      },
      py::arg("old"), py::arg("new"),
      "Renames a value where it is made and wherever it is used, nested blocks included.\n\n"
      "Raises InvalidArgumentError when `old` is unknown or `new` is taken.");
  cls.def(
      "replace_uses",
      [](T& self, const std::string& old_name, const std::string& new_name) {
        return replace_uses(block_of(self), old_name, new_name);
      },
      py::arg("old"), py::arg("new"),
      "Makes every use of value `old` a use of `new`, results included; returns how many.");
}

void set_constant(Operation& op, const py::object& array, const std::optional<std::string>& dtype) {
  const Value* old = op.attribute("val");
  if (op.type != "const" || op.outputs.size() != 1 || old == nullptr) {
    invalid("set_value: expected a const operation, got " + op.type);
  }
  const std::string kept(dtype_name(old->type.dtype));
  Value value = value_from_numpy(array, dtype ? *dtype : kept);
  op.outputs.front().type = value.type;
  put_attribute(op.attributes, "val", value);
}

}  // namespace

std::vector<NamedType> named_types(const py::iterable& items) {
  std::vector<NamedType> result;
  for (const auto item : items) result.push_back(named_type(item));
  return result;
}

OperationPtr make_operation(const std::string& type, const py::iterable& outputs,
                            const py::dict& inputs, const py::dict& attributes,
                            const std::string& opset) {
  auto op = std::make_shared<Operation>();
  op->type = checked_name(type, "operation");
  if (!opset.empty()) op->opset = checked_name(opset, "opset");
  op->outputs = named_types(outputs);
  for (const auto& [name, given] : inputs) set_argument(*op, name.cast<std::string>(), given);
  for (const auto& [name, value] : attributes) {
    put_attribute(op->attributes, name.cast<std::string>(), value.cast<Value>());
  }
  return op;
}

void bind_operation(py::module_& m) {
  py::class_<NamedType>(m, "NamedType", "A value's name and type: a parameter or a result.")
      .def(py::init([](const std::string& name, const py::object& type) {
             return NamedType{checked_name(name, "value"), type_from(type), {}};
           }),
           py::arg("name"), py::arg("type"))
      .def_readonly("name", &NamedType::name)
      .def_readonly("type", &NamedType::type)
      .def_property_readonly("line", [](const NamedType& self) { return self.location.line; })
      .def_property_readonly("column", [](const NamedType& self) { return self.location.column; })
      .def(
          "__eq__",
          [](const NamedType& a, const NamedType& b) {
            return a.name == b.name && a.type == b.type;
          },
          py::is_operator())
      .def("__hash__",
           [](const NamedType& self) {
             return py::hash(py::make_tuple(self.name, to_string(self.type)));
           })
      .def("__repr__", [](const NamedType& self) {
        return "NamedType('" + self.name + "', '" + to_string(self.type) + "')";
      });

  py::class_<Operation, OperationPtr> op(m, "Operation",
                                         "One statement: results = type(inputs)[attributes].");
  py::class_<Block, std::shared_ptr<Block>> block(
      m, "Block", "A nested region of cond or while_loop: parameters, operations, results.");
  op.def(py::init(&make_operation), py::arg("type"), py::arg("outputs") = py::tuple(),
         py::arg("inputs") = py::dict(), py::arg("attributes") = py::dict(), py::kw_only(),
         py::arg("opset") = "")
      .def_property(
          "type", [](const Operation& self) { return self.type; },
          [](Operation& self, const std::string& type) {
            self.type = checked_name(type, "operation");
          },
          "The operation's name: \"matmul\".")
      .def_property(
          "opset", [](const Operation& self) { return self.opset; },
          [](Operation& self, const std::string& opset) {
            self.opset = opset.empty() ? opset : checked_name(opset, "opset");
          },
          "The opset written on the operation itself; mostly empty.")
      .def_property(
          "outputs", [](const Operation& self) { return self.outputs; },
          [](Operation& self, const py::iterable& items) { self.outputs = named_types(items); },
          "Results: a copy. Assign a sequence to change them.")
      .def_property_readonly("inputs", &arguments,
                             "Arguments by name, each a list of value names and inline Values: a "
                             "copy. Change them with set_input().")
      .def("set_input", &set_argument, py::arg("name"), py::arg("value"),
           "Adds or replaces an argument: a value's name, a Value, or a list of both.")
      .def(
          "remove_input",
          [](Operation& self, const std::string& name) {
            if (!remove_named(self.arguments, name)) throw py::key_error(name);
          },
          py::arg("name"), "Removes an argument. Raises KeyError when there is none.")
      .def_property_readonly(
          "value",
          [](const Operation& self) -> std::optional<Value> {
            const Value* value = self.type == "const" ? self.attribute("val") : nullptr;
            return value == nullptr ? std::nullopt : std::optional<Value>(*value);
          },
          "The value of a const operation; None for every other one.")
      .def(
          "set_value", &set_constant, py::arg("array"), py::arg("dtype") = py::none(),
          "Gives a const operation a new value from an array, and its result the array's shape.\n\n"
          "The element type stays unless `dtype` says otherwise. Raises InvalidArgumentError\n"
          "for other operations and for elements out of range, DTypeError for arrays that do not\n"
          "convert.")
      .def_property_readonly("blocks", [](const Operation& self) { return self.blocks; })
      .def_property_readonly("line", [](const Operation& self) { return self.location.line; })
      .def_property_readonly("column", [](const Operation& self) { return self.location.column; })
      .def(
          "copy", [](const Operation& self) { return std::make_shared<Operation>(self.clone()); },
          "A deep copy that belongs to no function.")
      .def(
          "__eq__", [](const Operation& a, const Operation& b) { return &a == &b; },
          py::is_operator())
      .def("__hash__", [](const Operation& self) { return std::hash<const void*>{}(&self); })
      .def("__str__", [](const Operation& self) { return print(self, false); })
      .def("__repr__", [](const Operation& self) {
        return "<Operation " + shortened(print(self, false)) + ">";
      });
  bind_attributes(op);
  bind_block(block);
}

void bind_function(py::module_& m) {
  py::class_<Function, FunctionPtr> function(m, "Function",
                                             "A function: parameters, operations, results.");
  function
      .def(py::init([](const std::string& name, const std::string& opset,
                       const py::iterable& inputs, const py::iterable& outputs) {
             auto f = std::make_shared<Function>();
             f->name = checked_name(name, "function");
             f->opset = checked_name(opset, "opset");
             f->body.inputs = named_types(inputs);
             f->body.outputs = names(outputs);
             return f;
           }),
           py::arg("name"), py::arg("opset") = "ios18", py::arg("inputs") = py::tuple(),
           py::arg("outputs") = py::tuple())
      .def_property(
          "name", [](const Function& self) { return self.name; },
          [](Function& self, const std::string& name) {
            self.name = checked_name(name, "function");
          })
      .def_property(
          "opset", [](const Function& self) { return self.opset; },
          [](Function& self, const std::string& name) { self.opset = checked_name(name, "opset"); })
      .def_property_readonly("line", [](const Function& self) { return self.location.line; })
      .def_property_readonly("column", [](const Function& self) { return self.location.column; })
      .def("__repr__", [](const Function& self) {
        return "<Function " + self.name + "<" + self.opset +
               ">: " + std::to_string(self.body.operations.size()) + " operations>";
      });
  bind_attributes(function);
  bind_block(function);
}

}  // namespace milane::bindings
