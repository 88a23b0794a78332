// Backends, compilation, sessions.
#include <pybind11/stl.h>

#include "backend/session.h"
#include "backends.h"
#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/dims_caster.h"
#include "core/error.h"

namespace py = pybind11;

namespace milane::bindings {
namespace {

Numerics numerics_of(const std::string& name) {
  if (name == "fp16") return Numerics::kFp16;
  if (name == "fp32") return Numerics::kFp32;
  if (name == "ane") return Numerics::kAne;
  if (name == "bf16") return Numerics::kBf16;
  throw Error(ErrorCode::kInvalidArgument,
              "numerics: expected \"fp16\", \"fp32\", \"ane\" or \"bf16\", got \"" + name + "\"");
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

Route route_of(const std::string& name) {
  if (name == "memory") return Route::kMemory;
  if (name == "client") return Route::kClient;
  if (name == "package") return Route::kPackage;
  throw Error(ErrorCode::kInvalidArgument,
              "route: expected \"memory\" or \"client\", got \"" + name + "\"");
}

SurfaceStyle style_of(const std::string& name) {
  if (name == "flat") return SurfaceStyle::kFlat;
  if (name == "shaped") return SurfaceStyle::kShaped;
  throw Error(ErrorCode::kInvalidArgument,
              "surface_style: expected \"flat\" or \"shaped\", got \"" + name + "\"");
}

// A backend, the line that says why it was chosen, and its compiles. The device counts them per
// process (ane_facts D 75), the host per runtime.
struct OpenBackend {
  BackendPtr backend;
  std::string why;
  std::shared_ptr<CompileCounter> compiles;
};

std::shared_ptr<CompileCounter> counter_of(const Backend& backend) {
  static const auto process = std::make_shared<CompileCounter>();
  return backend.name() == "ane" ? process : std::make_shared<CompileCounter>();
}

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

// The keywords of milane.CompileOptions, as Python hands them over.
CompileOptions options_of(const py::dict& given) {
  CompileOptions options;
  options.function = given["function"].cast<std::string>();
  const auto numerics = given["numerics"].cast<std::string>();
  options.numerics = numerics_of(numerics);
  if (!given["quirks"].is_none()) {
    if (options.numerics != Numerics::kAne) {
      throw Error(ErrorCode::kInvalidArgument,
                  "quirks: expected numerics=\"ane\" beside them, got \"" + numerics + "\"");
    }
    options.quirks = quirks_of(given["quirks"].cast<std::vector<std::string>>());
  }
  options.shapes = given["shapes"].cast<std::map<std::string, Dims>>();
  options.fuse = given["fuse"].cast<bool>();
  options.route = route_of(given["route"].cast<std::string>());
  options.package = given["package"].cast<std::string>();
  options.model_key = given["model_key"].cast<std::string>();
  options.qos = given["qos"].cast<std::uint32_t>();
  options.perf_stats_mask = given["perf_stats_mask"].cast<std::uint32_t>();
  options.use_cache = given["use_cache"].cast<bool>();
  return options;
}

std::shared_ptr<Session> compile(const OpenBackend& self, const mil::ProgramPtr& program,
                                 const std::string& model_folder,
                                 const std::map<std::string, py::object>& files,
                                 const py::dict& given, std::optional<std::int64_t> compile_budget,
                                 const std::shared_ptr<Session>& sibling,
                                 const std::shared_ptr<CompileCache>& cache) {
  CompileOptions options = options_of(given);
  options.compiles = self.compiles;
  options.compile_budget = compile_budget;
  options.cache = cache;
  const SurfaceStyle style = style_of(given["surface_style"].cast<std::string>());
  const WeightSet weights = weights_of(model_folder, files);
  py::gil_scoped_release release;
  return std::make_shared<Session>(self.backend, self.backend->compile(program, weights, options),
                                   style, sibling.get());
}

std::string reload(Session& self, const std::string& model_folder,
                   const std::map<std::string, py::object>& files) {
  const WeightSet weights = weights_of(model_folder, files);
  py::gil_scoped_release release;
  return self.reload(weights);
}

EvalPath path_of(const std::string& name) {
  if (name == "standard") return EvalPath::kStandard;
  if (name == "direct") return EvalPath::kDirect;
  if (name == "realtime") return EvalPath::kRealtime;
  throw Error(
      ErrorCode::kInvalidArgument,
      "eval: expected the path \"standard\", \"direct\" or \"realtime\", got \"" + name + "\"");
}

using Points = std::vector<std::pair<SharedEventPtr, std::uint64_t>>;

std::vector<EventPoint> points_of(const Points& pairs) {
  std::vector<EventPoint> points;
  for (const auto& [event, value] : pairs) points.push_back({event, value});
  return points;
}

void eval_with(BoundRequest& self, const std::string& path, const Points& wait,
               const Points& signal, bool disable_io_fences, bool enable_fw_to_fw_signal,
               std::int64_t timeout_ns) {
  const EvalOptions options{path_of(path),     points_of(wait),        points_of(signal),
                            disable_io_fences, enable_fw_to_fw_signal, timeout_ns};
  py::gil_scoped_release release;
  self.eval_with(options);
}

void bind_request(py::module_& m) {
  using Release = py::call_guard<py::gil_scoped_release>;
  py::class_<BoundRequest, BoundRequestPtr>(
      m, "BoundRequest", "A kernel with surfaces fixed; see milane.BoundRequest.")
      .def("eval", &BoundRequest::eval, Release(), "Runs the program once.")
      .def("eval_many", &BoundRequest::eval_many, py::arg("times"), Release(),
           "Runs the program so many times.")
      .def("eval_with", &eval_with, py::kw_only(), py::arg("path"), py::arg("wait"),
           py::arg("signal"), py::arg("disable_io_fences"), py::arg("enable_fw_to_fw_signal"),
           py::arg("timeout_ns"), "Runs the program once, by another path or with events.")
      .def("eval_with_stats", &BoundRequest::eval_with_stats, py::arg("per_op"), Release(),
           "Runs the program once and returns the times.")
      .def("close", &BoundRequest::close, Release(), "Lets go of what the device holds for it.");
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
  using Release = py::call_guard<py::gil_scoped_release>;
  bind_info(m);
  bind_request(m);
  py::class_<Diagnostics>(m, "Diagnostics", "What the device says of a loaded kernel.")
      .def_readonly("model_queue_depth", &Diagnostics::model_queue_depth,
                    "Requests that may be in flight; None where it is unknown.")
      .def_readonly("program_class", &Diagnostics::program_class,
                    "The framework's class of the program; None where it is unknown.");
  py::class_<OpenBackend>(m, "Backend")
      .def_property_readonly("name", [](const OpenBackend& b) { return b.backend->name(); })
      .def_property_readonly("status", [](const OpenBackend& b) { return b.backend->status(); })
      .def_readonly("why", &OpenBackend::why)
      .def_property_readonly("info", [](const OpenBackend& b) { return b.backend->info(); })
      .def_property_readonly("compiles", [](const OpenBackend& b) { return b.compiles->count(); })
      .def("reset_compiles", [](const OpenBackend& b) { b.compiles->reset(); })
      .def("make_surface",
           [](const OpenBackend& b, const TensorLayout& layout) {
             return b.backend->make_surface(layout);
           })
      .def("begin_realtime",
           [](const OpenBackend& b) {
             const RealtimeGrant grant = b.backend->begin_realtime();
             return std::make_pair(grant.granted, grant.why);
           })
      .def("end_realtime", [](const OpenBackend& b) { b.backend->end_realtime(); })
      .def("compile", &compile, py::arg("program"), py::kw_only(), py::arg("model_folder"),
           py::arg("files"), py::arg("options"), py::arg("compile_budget"), py::arg("sibling"),
           py::arg("cache") = nullptr);
  m.def("open_backend", [](const std::string& name) {
    OpenBackend b;
    b.backend = open_backend(name, &b.why);
    b.compiles = counter_of(*b.backend);
    return b;
  });
  m.def("make_surface", &make_surface, py::arg("layout"),
        "Return a surface that every backend of this machine takes.");
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
      .def_property_readonly("own", &Session::own)
      .def("bind", &Session::bind, py::arg("inputs"), py::arg("outputs"), Release())
      .def("make_surface", &Session::make_surface, py::arg("layout"))
      .def("reload", &reload, py::kw_only(), py::arg("model_folder"), py::arg("files"))
      .def("lock", &Session::lock, Release())
      .def("unlock", &Session::unlock)
      .def("diagnostics", &Session::diagnostics, Release())
      .def("close", &Session::close, Release())
      .def_property_readonly("closed", &Session::closed)
      .def_property_readonly("function", &Session::function)
      .def("inputs", [](const Session& s) { return ports(s.inputs()); })
      .def("outputs", [](const Session& s) { return ports(s.outputs()); })
      .def("states", [](const Session& s) { return ports(s.states()); });
}

}  // namespace milane::bindings
