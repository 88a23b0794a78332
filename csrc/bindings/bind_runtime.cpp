// Backends, compilation, sessions.
#include <pybind11/stl.h>

#include "backend/session.h"
#include "backends.h"
#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "core/error.h"

namespace py = pybind11;

namespace milane::bindings {
namespace {

Numerics numerics_of(const std::string& name) {
  if (name == "fp16") return Numerics::kFp16;
  if (name == "fp32") return Numerics::kFp32;
  if (name == "ane") return Numerics::kAne;
  throw Error(ErrorCode::kInvalidArgument,
              "numerics: expected \"fp16\", \"fp32\" or \"ane\", got \"" + name + "\"");
}

QuirkSet quirks_of(const std::vector<std::string>& names) {
  QuirkSet set;
  for (const auto& name : names) {
    bool found = false;
    std::string known;
    for (const QuirkRule& rule : quirk_rules()) {
      known += (known.empty() ? "" : ", ") + std::string(rule.name);
      if (rule.name != name) continue;
      set.set(static_cast<std::size_t>(rule.id));
      found = true;
    }
    if (!found)
      throw Error(ErrorCode::kInvalidArgument,
                  "quirks: expected names among " + known + ", got " + name);
  }
  return set;
}

// A backend and the line that says why it was chosen.
struct OpenBackend {
  BackendPtr backend;
  std::string why;
};

// Bytes keep their Python object alive; its release needs the GIL.
std::shared_ptr<const void> hold(const py::object& o) {
  return {o.inc_ref().ptr(), [](const void* p) {
            py::gil_scoped_acquire gil;
            Py_DECREF(reinterpret_cast<PyObject*>(const_cast<void*>(p)));
          }};
}

WeightSet weights_of(const std::string& folder, const std::map<std::string, py::object>& files) {
  WeightSet set(folder);
  for (const auto& [path, content] : files) {
    if (py::isinstance<py::str>(content)) {
      set.add_file(path, content.cast<std::string>());
      continue;
    }
    const py::bytes bytes = content;
    const std::string_view view = bytes;
    set.add_bytes(path, hold(bytes), reinterpret_cast<const std::byte*>(view.data()), view.size());
  }
  return set;
}

std::shared_ptr<Session> compile(const OpenBackend& self, const mil::ProgramPtr& program,
                                 const std::string& model_folder,
                                 const std::map<std::string, py::object>& files,
                                 const std::string& function, const std::string& numerics,
                                 const std::optional<std::vector<std::string>>& quirks,
                                 const std::map<std::string, Dims>& shapes, bool fuse,
                                 const std::shared_ptr<Session>& sibling) {
  CompileOptions options;
  options.function = function;
  options.numerics = numerics_of(numerics);
  if (quirks) {
    if (options.numerics != Numerics::kAne) {
      throw Error(ErrorCode::kInvalidArgument,
                  "quirks: expected numerics=\"ane\" beside them, got \"" + numerics + "\"");
    }
    options.quirks = quirks_of(*quirks);
  }
  options.shapes = shapes;
  options.fuse = fuse;
  const WeightSet weights = weights_of(model_folder, files);
  py::gil_scoped_release release;
  return std::make_shared<Session>(self.backend, self.backend->compile(program, weights, options),
                                   sibling.get());
}

py::list ports(const std::vector<BoundPort>& ports) {
  py::list all;
  for (const BoundPort& port : ports) all.append(py::make_tuple(port.name, port.surface));
  return all;
}

void bind_info(py::module_& m) {
  py::class_<DeviceInfo>(m, "DeviceInfo", "What machine this is, as far as its system tells.")
      .def_readonly("has_ane", &DeviceInfo::has_ane, "Whether there is a Neural Engine to use.")
      .def_readonly("num_cores", &DeviceInfo::num_cores,
                    "Cores of the Neural Engine; 0 where there is none or the number is unknown.")
      .def_readonly("architecture", &DeviceInfo::architecture,
                    "Architecture of the engine, or of the CPU where there is none.")
      .def_readonly("product", &DeviceInfo::product, "Name of the system, such as \"Linux\".")
      .def_readonly("build_version", &DeviceInfo::build_version, "Version of the system.")
      .def_readonly("is_vm", &DeviceInfo::is_vm, "Whether the system says it is virtual.")
      .def("__repr__", [](const DeviceInfo& d) {
        return std::string("DeviceInfo(has_ane=") + (d.has_ane ? "True" : "False") +
               ", architecture='" + d.architecture + "', product='" + d.product +
               "', build_version='" + d.build_version + "')";
      });
  py::class_<StepTime>(m, "StepTime", "One step of an evaluation.")
      .def_readonly("op", &StepTime::op, "The operation; of a fused step all, joined by +.")
      .def_readonly("name", &StepTime::name, "Name of the step's result; the last one's if fused.")
      .def_readonly("line", &StepTime::line, "Line in the MIL text; 0 for a copy the plan adds.")
      .def_readonly("ns", &StepTime::ns, "Time of the step in nanoseconds.");
  py::class_<EvalStats>(m, "EvalStats", "Times of one evaluation, in nanoseconds.")
      .def_readonly("wall_ns", &EvalStats::wall_ns,
                    "Time of the whole evaluation, by the monotonic clock.")
      .def_readonly("hw_execution_ns", &EvalStats::hw_execution_ns,
                    "Time the Neural Engine reports; None on the host.")
      .def_readonly("steps", &EvalStats::steps,
                    "One StepTime per step with per_op, else an empty list.");
}

}  // namespace

void bind_runtime(py::module_& m) {
  bind_info(m);
  py::class_<OpenBackend>(m, "Backend")
      .def_property_readonly("name", [](const OpenBackend& b) { return b.backend->name(); })
      .def_property_readonly("status", [](const OpenBackend& b) { return b.backend->status(); })
      .def_readonly("why", &OpenBackend::why)
      .def_property_readonly("info", [](const OpenBackend& b) { return b.backend->info(); })
      .def("make_surface",
           [](const OpenBackend& b, const TensorLayout& layout) {
             return b.backend->make_surface(layout);
           })
      .def("compile", &compile, py::arg("program"), py::kw_only(), py::arg("model_folder"),
           py::arg("files"), py::arg("function"), py::arg("numerics"), py::arg("quirks"),
           py::arg("shapes"), py::arg("fuse"), py::arg("sibling"));
  m.def("open_backend", [](const std::string& name) {
    OpenBackend b;
    b.backend = open_backend(name, &b.why);
    return b;
  });
  m.def("probe", &probe);
  m.def("quirk_rules", [] {
    py::list all;
    for (const QuirkRule& r : quirk_rules()) {
      all.append(py::make_tuple(std::string(r.name), std::string(r.effect), std::string(r.scope),
                                std::string(r.source), std::string(r.confidence)));
    }
    return all;
  });
  py::class_<Session, std::shared_ptr<Session>>(m, "Session")
      .def("eval", &Session::eval, py::call_guard<py::gil_scoped_release>())
      .def("eval_with_stats", &Session::eval_with_stats, py::arg("per_op"),
           py::call_guard<py::gil_scoped_release>())
      .def("close", &Session::close)
      .def_property_readonly("closed", &Session::closed)
      .def_property_readonly("function", &Session::function)
      .def("inputs", [](const Session& s) { return ports(s.inputs()); })
      .def("outputs", [](const Session& s) { return ports(s.outputs()); })
      .def("states", [](const Session& s) { return ports(s.states()); });
}

}  // namespace milane::bindings
