#include "emulated/framework/loaded.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "core/error.h"

namespace milane::emulated {
namespace {

constexpr const char* kLoadedCount = "loaded programs";
constexpr const char* kOutputSuffix = "@output";  // ane_facts C.2

std::uint64_t next_handle() {
  static std::atomic<std::uint64_t> last{0x10000};
  return ++last;
}

// Names of all procedures, byte by byte from a to z (ane_facts C.5).
std::vector<std::string> sorted_names(const std::vector<KernelPtr>& kernels, bool outputs) {
  std::set<std::string> names;
  for (const KernelPtr& kernel : kernels) {
    for (const Port& port : outputs ? kernel->outputs() : kernel->inputs()) names.insert(port.name);
  }
  std::vector<std::string> all(names.begin(), names.end());
  if (milane_fault(kSymbolsReversed)) std::reverse(all.begin(), all.end());
  return all;
}

std::vector<DeviceTensor> device_tensors(const std::vector<Port>& ports,
                                         const std::vector<std::string>& symbols) {
  std::vector<DeviceTensor> tensors;
  for (const Port& port : ports) {
    tensors.push_back(device_tensor(port.name, port.layout.dtype(), port.layout.shape()));
    const auto at = std::find(symbols.begin(), symbols.end(), port.name);
    tensors.back().symbol = static_cast<std::uint32_t>(at - symbols.begin());
  }
  return tensors;
}

std::vector<std::size_t> by_name(const std::vector<DeviceTensor>& tensors) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](auto a, auto b) { return tensors[a].name < tensors[b].name; });
  return order;
}

void add_suffix(std::string& name) { name += kOutputSuffix; }

}  // namespace

Loaded::Loaded(CompiledPtr from)
    : compiled(std::move(from)),
      handle(next_handle()),
      input_symbols(sorted_names(compiled->procedures, false)),
      output_symbols(sorted_names(compiled->procedures, true)) {
  for (const KernelPtr& kernel : compiled->procedures) {
    Procedure p{kernel,
                device_tensors(kernel->inputs(), input_symbols),
                device_tensors(kernel->outputs(), output_symbols),
                {},
                {}};
    p.listed_inputs = by_name(p.inputs);
    p.listed_outputs = by_name(p.outputs);
    for (DeviceTensor& t : p.outputs) add_suffix(t.name);
    procedures.push_back(std::move(p));
  }
  for (std::string& s : output_symbols) add_suffix(s);
}

namespace {

MilaneFailure injected() {
  if (milane_fault(kLoadAlways) || milane_fault(kLoadOnce)) return kLoad;
  if (milane_fault(kLoadAccess)) return kFileAccess;
  if (milane_fault(kLoadRecompile)) return kRecompile;
  const long limit = milane_fault_number(kLoadLimit, -1, 128);
  if (limit >= 0 && milane_live_count(kLoadedCount) >= limit) return kRecompile;
  return kSucceeded;
}

// What a folder holds that a compile left there, or that somebody copied (ane_facts G.1).
Outcome from_folder(const std::filesystem::path& folder) {
  if (!exists(folder / "net.plist") || !exists(folder / "data")) {
    milane_set_reason("load: never compiled, and no net.plist and data in the folder");
    return {kRecompile, nullptr};
  }
  const std::string text = read_net_plist(folder);
  if (milane_fault(kReloadStale)) {
    if (CompiledPtr stale = cached_text(text)) return {kSucceeded, stale};
  }
  Outcome outcome = compile_text(text, folder, read_bytes(folder / "data"));
  if (outcome.failure != kSucceeded) outcome.failure = kLoad;
  return outcome;
}

}  // namespace
}  // namespace milane::emulated

using namespace milane::emulated;

MilaneFailure milane_load(const char* folder, const char* identity, MilaneProgram** program) {
  if (const MilaneFailure fault = injected()) {
    milane_set_reason("injected");
    return fault;
  }
  try {
    const std::filesystem::path root(folder);
    if (!exists(root / "model.mil")) {
      milane_set_reason("load: no model.mil in the folder");
      return kFileAccess;
    }
    Outcome outcome{kSucceeded, cached(identity)};
    if (!outcome.compiled) outcome = from_folder(root);
    if (outcome.failure != kSucceeded) return outcome.failure;
    *program = new MilaneProgram{std::make_shared<Loaded>(std::move(outcome.compiled))};
    milane_live_add(kLoadedCount, 1);
    return kSucceeded;
  } catch (const std::exception& e) {
    milane_set_reason(e.what());
    return kFileAccess;
  }
}

bool milane_unload(MilaneProgram* program) {
  if (!program->loaded->loaded.exchange(false)) return false;
  milane_live_add(kLoadedCount, -1);
  return true;
}

void milane_program_free(MilaneProgram* program) { delete program; }

uint64_t milane_program_handle(const MilaneProgram* program) { return program->loaded->handle; }

long milane_program_in_flight(const MilaneProgram* program, bool asynchronous) {
  const Loaded& loaded = *program->loaded;
  return asynchronous ? loaded.asynchronous : loaded.in_flight;
}

bool milane_program_crashes_at_unload(const MilaneProgram* program) {
  return program->loaded->had_events;
}

void milane_queue_enter(MilaneProgram* program, bool asynchronous) {
  program->loaded->queue.acquire();
  ++program->loaded->in_flight;
  if (asynchronous) ++program->loaded->asynchronous;
}

void milane_queue_leave(MilaneProgram* program, bool asynchronous) {
  if (asynchronous) --program->loaded->asynchronous;
  --program->loaded->in_flight;
  program->loaded->queue.release();
}

size_t milane_program_procedures(const MilaneProgram* program) {
  return program->loaded->procedures.size();
}

const char* milane_program_procedure(const MilaneProgram* program, size_t procedure) {
  return program->loaded->procedures[procedure].kernel->function().c_str();
}

size_t milane_program_symbols(const MilaneProgram* program, bool outputs) {
  return (outputs ? program->loaded->output_symbols : program->loaded->input_symbols).size();
}

const char* milane_program_symbol(const MilaneProgram* program, bool outputs, size_t symbol) {
  const Loaded& loaded = *program->loaded;
  return (outputs ? loaded.output_symbols : loaded.input_symbols)[symbol].c_str();
}

size_t milane_program_tensors(const MilaneProgram* program, size_t procedure, bool outputs) {
  const Procedure& p = program->loaded->procedures[procedure];
  return (outputs ? p.outputs : p.inputs).size();
}

MilaneTensor milane_program_tensor(const MilaneProgram* program, size_t procedure, bool outputs,
                                   size_t tensor) {
  const Procedure& p = program->loaded->procedures[procedure];
  const DeviceTensor& t =
      outputs ? p.outputs[p.listed_outputs[tensor]] : p.inputs[p.listed_inputs[tensor]];
  return {t.name.c_str(),
          type_code(t.layout.dtype()),
          t.symbol,
          t.batches,
          t.channels,
          t.depth,
          t.height,
          t.width,
          t.batch_stride,
          t.depth_stride,
          t.plane_stride,
          t.row_stride,
          static_cast<int64_t>(t.layout.elem_size())};
}
