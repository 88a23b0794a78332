// Shared events.
#include "backends.h"
#include "bindings/bindings.h"

namespace py = pybind11;

namespace milane::bindings {

void bind_events(py::module_& m) {
  using Release = py::call_guard<py::gil_scoped_release>;
  py::class_<SharedEvent, SharedEventPtr>(m, "SharedEvent",
                                          "A counter that is waited for; see milane.SharedEvent.")
      .def_property_readonly("value", &SharedEvent::value, "The value signalled last.")
      .def_property_readonly("port", &SharedEvent::port, "The event's name for other holders.")
      .def("signal", &SharedEvent::signal, py::arg("value"), Release(),
           "Raises the event to value.")
      .def("wait", &SharedEvent::wait, py::arg("value"), py::arg("timeout_ns"), Release(),
           "Whether the event reached value in time; a negative timeout waits for ever.");
  m.def("make_event", &make_event, "Return a new event, with value 0.");
  m.def("event_from_port", &event_from_port, py::arg("port"),
        "Return the event that another holder calls port.\n\n"
        "Raises:\n"
        "    InvalidArgumentError: no event has this port.");
}

}  // namespace milane::bindings
