// What only Apple's systems have: the private framework's own report, and Metal.
#include <pybind11/stl.h>

#include "apple/apple.h"
#include "apple/metal.h"
#include "bindings/bindings.h"

namespace py = pybind11;

namespace milane::bindings {
namespace {

using apple::ApiRow;
using apple::FrameworkReport;
using apple::MetalBuffer;
using apple::MetalDevice;
using apple::MetalSharedEvent;

void bind_report(py::module_& m) {
  py::class_<ApiRow>(m, "ApiRow", "A class or selector of the private framework on this system.")
      .def_readonly("cls", &ApiRow::cls, "The class.")
      .def_readonly("selector", &ApiRow::selector,
                    "The selector, + for class methods, - for others; empty for the class itself.")
      .def_readonly("encoding", &ApiRow::encoding,
                    "The types expected, as the runtime spells them.")
      .def_readonly("found", &ApiRow::found,
                    "The types this system has; empty where it is missing.")
      .def_readonly("required", &ApiRow::required, "Whether the backend cannot do without it.")
      .def_readonly("present", &ApiRow::present, "Whether this system has it.")
      .def_readonly("matches", &ApiRow::matches, "Whether the types are the expected ones.")
      .def_readonly("seen", &ApiRow::seen, "System versions whose headers or listings show it.")
      .def_readonly("users", &ApiRow::users, "Other projects that call it.")
      .def_readonly("absent", &ApiRow::absent, "What happens without it.");
  py::class_<FrameworkReport>(m, "FrameworkReport", "The private framework against the table.")
      .def_readonly("path", &FrameworkReport::path, "The framework's file.")
      .def_readonly("error", &FrameworkReport::error, "Why it did not open; empty when it did.")
      .def_readonly("rows", &FrameworkReport::rows, "One ApiRow per class and selector.");
  m.def("inspect_framework", &apple::inspect_framework,
        "Return the FrameworkReport of this system. Never raises.");
}

}  // namespace

void bind_apple(py::module_& m) {
  bind_report(m);
  m.def(
      "measure_entry",
      [](int calls) {
        const apple::EntryCost cost = apple::measure_entry(calls);
        return py::make_tuple(cost.pool_ns, cost.guard_ns, cost.entry_ns);
      },
      py::arg("calls"),
      "Return the nanoseconds of a pool, a guard, and an entry into Objective-C with both.\n\n"
      "Raises:\n"
      "    UnsupportedError: this build has no Objective-C.");
  py::class_<MetalBuffer>(m, "MetalBuffer", "A Metal buffer over a surface, without a copy.")
      .def_property_readonly("handle", &MetalBuffer::handle, "The address of the MTLBuffer.")
      .def_property_readonly("length", &MetalBuffer::length, "Bytes of the buffer.")
      .def_property_readonly("contents", &MetalBuffer::contents, "The address of its bytes.");
  py::class_<MetalSharedEvent>(m, "MetalSharedEvent", "A Metal shared event.")
      .def_property_readonly("handle", &MetalSharedEvent::handle,
                             "The address of the MTLSharedEvent.")
      .def_property_readonly("signaled_value", &MetalSharedEvent::value,
                             "The value signalled last.")
      .def("signal", &MetalSharedEvent::signal, py::arg("value"), "Raises the event to value.");
  py::class_<MetalDevice, std::shared_ptr<MetalDevice>>(m, "MetalDevice",
                                                        "A GPU; see milane.MetalDevice.")
      .def_property_readonly("name", &MetalDevice::name, "The GPU's name.")
      .def_property_readonly("handle", &MetalDevice::handle, "The address of the MTLDevice.")
      .def("buffer", &MetalDevice::buffer, py::arg("surface"),
           "Return a MetalBuffer over the surface; it keeps the surface alive.")
      .def("shared_event", &MetalDevice::shared_event, py::arg("event"),
           "Return the MetalSharedEvent that is the same as a SharedEvent.");
  m.def("open_metal", &apple::open_metal,
        "Return the system's GPU.\n\n"
        "Raises:\n"
        "    UnsupportedError: there is no Metal here.");
}

}  // namespace milane::bindings
