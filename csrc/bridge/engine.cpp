#include "bridge/engine.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>

#include "backend/compiling.h"
#include "backend/shapes.h"
#include "backends.h"
#include "core/aligned.h"
#include "core/error.h"
#include "mil/parser.h"
#include "mil/verify.h"

namespace milane::bridge {
namespace {

// Compiles after which processes are reported to fail (ane_facts D 75).
constexpr std::int64_t kAneCompileBudget = 119;

struct Engine {
  BackendPtr backend;
  std::string name;
};

// Never destroyed: a process may end while its threads are still in here.
const Engine& engine() {
  static std::mutex mutex;
  static const Engine* opened = nullptr;
  const std::lock_guard lock(mutex);
  if (opened == nullptr) {
    const char* wanted = std::getenv("MILANE_BACKEND");
    std::string why;
    try {
      BackendPtr backend = open_backend(wanted ? wanted : "auto", &why);
      std::string name = backend->name();
      opened = new Engine{std::move(backend), std::move(name)};
    } catch (const Error& e) {
      throw Error(e.code(), e.message(), "the environment variable MILANE_BACKEND chooses");
    }
  }
  return *opened;
}

const std::shared_ptr<CompileCounter>& counter() {
  static const auto& one = *new std::shared_ptr<CompileCounter>(std::make_shared<CompileCounter>());
  return one;
}

// The engine's hints speak of its Python interface; these are for the same errors here.
template <class F>
auto with_hint(const char* hint, F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    throw Error(e.code(), e.message(), hint);
  }
}

void check_weight_path(const std::string& path) {
  const bool climbs = ("/" + path + "/").find("/../") != std::string::npos;
  if (!path.empty() && path.front() != '/' && !climbs) return;
  throw Error(ErrorCode::kInvalidArgument,
              "expected a weight path like @model_path/weights/weight.bin, got \"" + path + "\"");
}

WeightSet weight_set(const std::vector<WeightBytes>& given) {
  WeightSet set;
  std::map<std::string, std::span<const std::uint8_t>> seen;
  for (const auto& [path, bytes] : given) {
    check_weight_path(path);
    if (const auto [it, is_new] = seen.emplace(path, bytes); !is_new) {
      const auto& before = it->second;
      const bool same = before.size() == bytes.size() &&
                        (bytes.empty() || !std::memcmp(before.data(), bytes.data(), bytes.size()));
      if (same) continue;
      throw Error(ErrorCode::kInvalidArgument,
                  "expected one content for " + path + ", got two different ones");
    }
    const auto copy = aligned_bytes(bytes.size());
    if (!bytes.empty()) std::memcpy(copy.get(), bytes.data(), bytes.size());
    set.add_bytes(path, copy, copy.get(), bytes.size());
  }
  return set;
}

// A port before there is a kernel; no shape where it is known only then.
struct Declared {
  std::string name;
  DType dtype;
  std::optional<Dims> shape;
};

struct Ports {
  std::vector<Declared> inputs, outputs;
};

Declared declared(const mil::NamedType& port) {
  const mil::Type& type = port.type.unwrapped();
  return {port.name, type.dtype, is_static(type.dims) ? std::optional(type.dims) : std::nullopt};
}

Ports ports_of(const mil::Function& function) {
  const auto shapes = with_hint("declare concrete shapes: this interface cannot choose them",
                                [&] { return concrete_shapes(function, {}); });
  Ports ports;
  std::map<std::string, Declared> values;
  for (const mil::NamedType& input : function.body.inputs) {
    Declared port = declared(input);
    if (const auto it = shapes.find(input.name); it != shapes.end()) port.shape = it->second;
    values.emplace(input.name, port);
    if (!input.type.is_state()) ports.inputs.push_back(std::move(port));
  }
  for (const mil::OperationPtr& op : function.body.operations) {
    for (const mil::NamedType& output : op->outputs) values.emplace(output.name, declared(output));
  }
  for (const mil::Operand& output : function.body.outputs) {
    ports.outputs.push_back(values.at(output.name));
  }
  return ports;
}

Ports ports_of(const Session& session) {
  Ports ports;
  const auto add = [](std::vector<Declared>& to, const std::vector<BoundPort>& from) {
    for (const auto& [name, surface] : from) {
      to.push_back({name, surface->layout().dtype(), surface->layout().shape()});
    }
  };
  add(ports.inputs, session.inputs());
  add(ports.outputs, session.outputs());
  return ports;
}

void check_sizes(const std::string& kind, const std::vector<Declared>& ports,
                 const std::vector<std::size_t>& sizes) {
  if (ports.size() != sizes.size()) {
    std::string names;
    for (const Declared& port : ports) names += (names.empty() ? "" : ", ") + port.name;
    throw Error(ErrorCode::kInvalidArgument, "expected " + std::to_string(ports.size()) + " " +
                                                 kind + (ports.size() == 1 ? "" : "s") +
                                                 (names.empty() ? "" : " (" + names + ")") +
                                                 ", got " + std::to_string(sizes.size()));
  }
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const auto& [name, dtype, shape] = ports[i];
    if (!shape) continue;
    const std::size_t bytes = packed_bytes(dtype, element_count(*shape));
    if (bytes == sizes[i]) continue;
    throw Error(ErrorCode::kInvalidArgument,
                kind + " " + std::to_string(i) + " (" + name + "): expected " +
                    std::to_string(bytes) + " bytes, of " + std::string(dtype_name(dtype)) + " " +
                    to_string(*shape) + ", got " + std::to_string(sizes[i]),
                "sizes are those of dense tensors: the library pads rows itself");
  }
}

void check(const Ports& ports, const Sizes& sizes) {
  check_sizes("input", ports.inputs, sizes.inputs);
  check_sizes("output", ports.outputs, sizes.outputs);
}

}  // namespace

Backend& backend() { return *engine().backend; }

const char* backend_name() { return engine().name.c_str(); }

CompileCounter& compiles() { return *counter(); }

std::unique_ptr<Session> compile(std::string_view text, const std::vector<WeightBytes>& weights,
                                 const Sizes& sizes) {
  const auto& [backend, backend_name] = engine();
  const mil::ProgramPtr program = mil::parse(text);
  mil::verify(*program);
  const mil::Function& function =
      with_hint("this interface compiles the function main, or the only one",
                [&]() -> const mil::Function& { return pick_function(*program, ""); });
  check(ports_of(function), sizes);

  CompileOptions options;
  options.compiles = counter();
  if (backend_name == "ane") options.compile_budget = kAneCompileBudget;
  const WeightSet set = weight_set(weights);
  KernelPtr kernel;
  try {
    kernel = backend->compile(program, set, options);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::kFile) throw;
    throw Error(e.code(), e.message(),
                "pass it to ane_bridge_compile_multi_weights() under that name");
  }
  auto session =
      std::make_unique<Session>(backend, std::move(kernel), SurfaceStyle::kFlat, nullptr);
  check(ports_of(*session), sizes);
  return session;
}

}  // namespace milane::bridge
