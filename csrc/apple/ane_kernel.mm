#include "apple/ane_kernel.h"

#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>

#include "apple/iosurface.h"
#include "backend/ane_limits.h"
#include "backend/compiling.h"

namespace milane::apple {
namespace {

// Programs are compiled and loaded one at a time: bursts starve the system's one compiler service
// (ane_facts B.5), and equal programs share a staging folder.
std::mutex& compiler_mutex() {
  static std::mutex* const mutex = new std::mutex;
  return *mutex;
}

constexpr auto kRetryAfter = std::chrono::milliseconds(100);

// One retry, as every other project found it to need.
void load_with_retry(LoadedModel& model) {
  try {
    model.load();
  } catch (const Error&) {
    std::this_thread::sleep_for(kRetryAfter);
    model.load();
  }
}

WeightFiles weight_files(const mil::Program& program, const WeightSet& weights) {
  WeightFiles files;
  const auto add = [&](const mil::Value& value) {
    if (!value.is_blob()) return;
    weights.find(program, value);  // the device would not say what is wrong with a record
    files.try_emplace(value.blob_path, weights.file(program, value));
  };
  for (const auto& function : program.functions) {
    for (const auto& op : function->body.operations) {
      for (const auto& attribute : op->attributes) add(attribute.value);
      for (const auto& argument : op->arguments) {
        for (const auto& operand : argument.operands) {
          if (operand.value) add(*operand.value);
        }
      }
    }
  }
  return files;
}

std::unique_ptr<LoadedModel> make_model(const KernelSource& source, const WeightSet& weights) {
  if (source.options.route == Route::kPackage) {
    return make_package_model(source.framework, source.options);
  }
  WeightFiles files = weight_files(*source.program, weights);
  if (source.options.route == Route::kClient) {
    return make_folder_model(source.framework, source.text, files, source.options);
  }
  return make_memory_model(source.framework, source.text, std::move(files), source.options);
}

// The device gives no reason; what is known to be refused does.
[[noreturn]] void throw_explained(const Error& e, const mil::Program& program) {
  std::string hint;
  for (const LimitFinding& finding : broken_limits(program)) {
    hint += (hint.empty() ? "known to be refused: " : "; ") + program.source_name + ":" +
            std::to_string(finding.location.line) + ":" + std::to_string(finding.location.column) +
            ": " + finding.message;
  }
  if (hint.empty()) throw e;
  throw Error(e.code(), e.message(), hint)
      .from_device(e.domain(), e.number(), e.device_class())
      .during(e.stage());
}

void compile_model(LoadedModel& model, const KernelSource& source) {
  if (source.options.compiles) source.options.compiles->take(source.options.compile_budget);
  try {
    model.compile();
  } catch (const Error& e) {
    throw_explained(e, *source.program);
  }
}

// False when the system had compiled the program before.
bool compile_and_load(LoadedModel& model, const KernelSource& source) {
  if (source.options.use_cache && model.is_compiled()) {
    try {
      load_with_retry(model);
      return false;
    } catch (const Error&) {  // the entry is no good: replace it
      model.purge();
    }
  }
  compile_model(model, source);
  load_with_retry(model);
  return true;
}

void unload_quietly(LoadedModel& model) {
  try {
    model.unload();
  } catch (const Error&) {  // what failed before is what matters
  }
}

// The outputs of one evaluation over inputs that are the same every time.
std::vector<std::byte> run_canary(const std::shared_ptr<AneKernel>& kernel) {
  std::vector<SurfacePtr> inputs, outputs;
  std::uint32_t state = 1;
  for (const Port& port : kernel->inputs()) {
    inputs.push_back(std::make_shared<AneSurface>(port.layout, SurfaceStyle::kFlat));
    const Surface::Lock lock(*inputs.back(), true);
    for (std::size_t i = 0; i + 2 <= port.layout.alloc_size(); i += 2) {
      state = state * 1664525u + 1013904223u;
      // Halves of magnitude 0.5 to 1; as other types small numbers, or bytes of any value.
      const auto bits = static_cast<std::uint16_t>(0x3800u | (state >> 16 & 0x83FFu));
      std::memcpy(lock.data() + i, &bits, 2);
    }
  }
  for (const Port& port : kernel->outputs()) {
    outputs.push_back(std::make_shared<AneSurface>(port.layout, SurfaceStyle::kFlat));
  }
  kernel->bind(inputs, outputs, {})->eval();
  std::vector<std::byte> all;
  for (const SurfacePtr& surface : outputs) {
    const std::size_t at = all.size();
    all.resize(at + surface->layout().logical_bytes());
    const Surface::Lock lock(*surface, false);
    copy_rows_to_dense(surface->layout(), lock.data(), all.data() + at);
  }
  return all;
}

// Nothing where the program does not take such inputs (an index out of range).
std::optional<std::vector<std::byte>> canary(const std::shared_ptr<AneKernel>& kernel) {
  try {
    return run_canary(kernel);
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

KernelPtr AneKernel::make(KernelSource source, const WeightSet& weights) {
  return objc("compile", [&]() -> KernelPtr {
    const mil::Function& function = pick_function(*source.program, source.options.function);
    const std::lock_guard lock(compiler_mutex());
    auto model = make_model(source, weights);
    compile_and_load(*model, source);
    try {
      DevicePorts ports = device_ports(function, model->attributes());
      return KernelPtr(new AneKernel(std::move(source), std::move(model), std::move(ports)));
    } catch (...) {
      unload_quietly(*model);
      throw;
    }
  });
}

AneKernel::AneKernel(KernelSource source, std::unique_ptr<LoadedModel> model, DevicePorts ports)
    : source_(std::move(source)), model_(std::move(model)), ports_(std::move(ports)) {
  for (const DevicePort& p : ports_.inputs) inputs_.push_back(p.port);
  for (const DevicePort& p : ports_.outputs) outputs_.push_back(p.port);
}

AneKernel::~AneKernel() {
  try {
    close();
  } catch (const Error&) {  // nobody is left to hear it
  }
  try {
    objc("unload", [&] { model_.reset(); });
  } catch (const Error&) {
  }
}

void AneKernel::close() {
  if (!loaded_.exchange(false) || !unloadable_) return;
  try {
    objc("unload", [&] { model_->unload(); });
  } catch (...) {
    loaded_ = true;  // the destructor tries once more
    throw;
  }
}

std::unique_ptr<Request> AneKernel::bind(const std::vector<SurfacePtr>& inputs,
                                         const std::vector<SurfacePtr>& outputs,
                                         const std::vector<SurfacePtr>&) {
  return make_ane_request(std::static_pointer_cast<AneKernel>(shared_from_this()), inputs, outputs);
}

Diagnostics AneKernel::diagnostics() const {
  return objc("diagnostics", [&] { return model_->diagnostics(); });
}

KernelPtr AneKernel::reload(const WeightSet& weights, std::string* how) {
  if (source_.options.route == Route::kPackage) {
    throw Error(ErrorCode::kUnsupported,
                "reload: expected a program given as MIL text, got a package",
                "compile the package's model.mil with other weights")
        .during("reload");
  }
  const auto self = std::static_pointer_cast<AneKernel>(shared_from_this());
  const auto before = canary(self);
  return objc("reload", [&]() -> KernelPtr {
    const auto finish = [&](std::unique_ptr<LoadedModel> model) {
      return std::shared_ptr<AneKernel>(new AneKernel(source_, std::move(model), ports_));
    };
    std::shared_ptr<AneKernel> made;
    {
      const std::lock_guard lock(compiler_mutex());
      auto model = make_model(source_, weights);
      const bool known = source_.options.use_cache && model->is_compiled();
      if (!known && before && model->adopt_compiled(*model_)) {
        try {
          model->load();
          made = finish(std::move(model));
        } catch (const Error&) {  // then by a compile
        }
      }
      if (!made) {
        if (!model) model = make_model(source_, weights);
        *how = compile_and_load(*model, source_) ? "compiled" : "cached";
        return finish(std::move(model));
      }
    }
    // The known failure of a load without a compile is that the old weights stay (ane_facts D 84).
    const auto after = canary(made);
    if (after && after != before) {
      *how = "donor";
      return made;
    }
    made->close();
    const std::lock_guard lock(compiler_mutex());
    auto model = make_model(source_, weights);
    model->purge();
    compile_model(*model, source_);
    load_with_retry(*model);
    *how = "compiled";
    return finish(std::move(model));
  });
}

}  // namespace milane::apple
