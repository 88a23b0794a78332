// What the bindings of programs, functions and operations share.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "mil/program.h"

namespace milane::bindings {

// NamedType, Operation and Block; Function; Builder.
void bind_operation(pybind11::module_& m);
void bind_function(pybind11::module_& m);
void bind_builder(pybind11::module_& m);

// What Python hands over: NamedTypes or pairs (name, type); value names, Values, lists of both.
std::vector<mil::NamedType> named_types(const pybind11::iterable& items);
mil::OperationPtr make_operation(const std::string& type, const pybind11::iterable& outputs,
                                 const pybind11::dict& inputs, const pybind11::dict& attributes,
                                 const std::string& opset);

[[noreturn]] inline void invalid(const std::string& message, const std::string& hint = {}) {
  throw Error(ErrorCode::kInvalidArgument, message, hint);
}

inline std::string checked_name(const std::string& name, const char* what) {
  if (!mil::is_identifier(name)) {
    invalid(std::string(what) + ": expected a name, got '" + name + "'",
            "a name is a letter or _, then letters, digits, _ and @");
  }
  return name;
}

template <class List>
bool remove_named(List& items, const std::string& name) {
  const auto found =
      std::find_if(items.begin(), items.end(), [&](const auto& item) { return item.name == name; });
  if (found == items.end()) return false;
  items.erase(found);
  return true;
}

inline void put_attribute(std::vector<mil::Attribute>& attributes, const std::string& name,
                          const mil::Value& v) {
  checked_name(name, "attribute");
  for (auto& attribute : attributes) {
    if (attribute.name == name) {
      attribute.value = v;
      return;
    }
  }
  attributes.push_back({name, v});
}

// `attributes`, `set_attribute` and `remove_attribute`, alike on programs, functions, operations.
template <class T>
void bind_attributes(pybind11::class_<T, std::shared_ptr<T>>& cls) {
  cls.def_property_readonly(
      "attributes",
      [](const T& self) {
        pybind11::dict result;
        for (const auto& attribute : self.attributes) {
          result[pybind11::str(attribute.name)] = pybind11::cast(mil::Value(attribute.value));
        }
        return result;
      },
      "Attributes by name: a copy. Change them with set_attribute().");
  cls.def(
      "set_attribute",
      [](T& self, const std::string& name, const mil::Value& value) {
        put_attribute(self.attributes, name, value);
      },
      pybind11::arg("name"), pybind11::arg("value"), "Adds an attribute or replaces its value.");
  cls.def(
      "remove_attribute",
      [](T& self, const std::string& name) {
        if (!remove_named(self.attributes, name)) throw pybind11::key_error(name);
      },
      pybind11::arg("name"), "Removes an attribute. Raises KeyError when there is none.");
}

}  // namespace milane::bindings
