// Requests on programs: prepared once, then run without a copy or an allocation.
#include <algorithm>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "backend/surface.h"
#include "emulated/framework/loaded.h"

namespace milane::emulated {
namespace {

constexpr const char* kMappedCount = "mapped requests";

// An IOSurface's memory with the strides that the program publishes.
class DeviceSurface final : public milane::Surface {
 public:
  DeviceSurface(const TensorLayout& layout, void* memory)
      : layout_(layout), memory_(static_cast<std::byte*>(memory)) {}

  const TensorLayout& layout() const override { return layout_; }
  std::byte* data() const override { return memory_; }
  void lock(bool) override {}
  void unlock(bool) override {}
  std::uintptr_t handle() const override { return reinterpret_cast<std::uintptr_t>(memory_); }

 private:
  const TensorLayout layout_;
  std::byte* const memory_;
};

// One request prepared for one program; the engine takes one thread at a time.
struct Binding {
  std::uint64_t program;
  std::mutex lock;
  std::unique_ptr<milane::Request> request;
  std::shared_ptr<Loaded> keeps;
};
using BindingPtr = std::shared_ptr<Binding>;

struct Prepared {
  MilaneFailure failure = kSucceeded;
  BindingPtr binding;
};

Prepared refused(MilaneFailure failure, const char* reason) {
  milane_set_reason(reason);
  return {failure, nullptr};
}

// The same memory with the same layout is one surface, so that the engine sees the overlap.
using Surfaces = std::vector<SurfacePtr>;
SurfacePtr surface_for(const TensorLayout& layout, void* memory, Surfaces& known) {
  for (const SurfacePtr& s : known) {
    if (static_cast<void*>(s->data()) == memory && s->layout() == layout) return s;
  }
  known.push_back(std::make_shared<DeviceSurface>(layout, memory));
  return known.back();
}

// The surfaces of one side in the kernel's order. kStatus2 for symbols that are not this
// procedure's, kStatus1d for a surface that is too short.
MilaneFailure arrange(const std::vector<DeviceTensor>& tensors, const MilaneSurface* given,
                      std::size_t count, Surfaces& known, Surfaces& arranged) {
  if (count != tensors.size()) return kStatus2;
  for (const DeviceTensor& tensor : tensors) {
    const MilaneSurface* const found = std::find_if(
        given, given + count, [&](const MilaneSurface& s) { return s.symbol == tensor.symbol; });
    if (found == given + count) return kStatus2;
    if (found->bytes < tensor.layout.alloc_size()) return kStatus1d;
    arranged.push_back(surface_for(tensor.layout, found->memory, known));
  }
  return kSucceeded;
}

Prepared prepare(const std::shared_ptr<Loaded>& loaded, const MilaneRequest& request) {
  if (request.input_count + request.output_count > kMaxSurfaces) {
    return refused(kStatus1d, "more than 128 surfaces in one request");
  }
  const auto& procedures = loaded->procedures;
  // A program of one procedure takes 0 to 15 for it (ane_facts D 85).
  const bool single = procedures.size() == 1 && request.procedure < 16;
  if (!single && request.procedure >= procedures.size()) {
    return refused(kStatus2, "no such procedure");
  }
  const Procedure& procedure = procedures[single ? 0 : request.procedure];
  Surfaces known, inputs, outputs;
  MilaneFailure failure =
      arrange(procedure.inputs, request.inputs, request.input_count, known, inputs);
  if (failure == kSucceeded) {
    failure = arrange(procedure.outputs, request.outputs, request.output_count, known, outputs);
  }
  if (failure == kStatus2) return refused(failure, "not the procedure's symbol indices");
  if (failure != kSucceeded) return refused(failure, "an IOSurface is shorter than its tensor");
  auto binding = std::make_shared<Binding>();
  binding->program = loaded->handle;
  binding->request = procedure.kernel->bind(inputs, outputs, {});
  binding->keeps = loaded;
  return {kSucceeded, std::move(binding)};
}

volatile long evaluations = 0;  // volatile: nobody reads it

MilaneFailure injected() {
  if (milane_fault(kSeedRace)) evaluations = evaluations + 1;  // on purpose: no lock
  milane_sleep_ms(milane_fault_number(kEvalSlow, 0, 50));
  if (milane_fault(kEval1d)) return kStatus1d;
  if (milane_fault(kEval2)) return kStatus2;
  if (milane_fault(kEval16)) return kStatus16;
  return kSucceeded;
}

}  // namespace
}  // namespace milane::emulated

using namespace milane::emulated;

struct MilaneBindings {
  std::mutex lock;
  std::vector<BindingPtr> all;  // of programs that are loaded, or were when this was last used
  std::set<const void*> mapped;

  Prepared get(const std::shared_ptr<Loaded>& loaded, const MilaneRequest& request) {
    const std::lock_guard hold(lock);
    for (const BindingPtr& binding : all) {
      if (binding->program == loaded->handle) return {kSucceeded, binding};
    }
    std::erase_if(all, [](const BindingPtr& b) { return !b->keeps->loaded; });
    Prepared made = prepare(loaded, request);
    if (made.binding) all.push_back(made.binding);
    return made;
  }
};

MilaneBindings* milane_bindings_create() { return new MilaneBindings; }

// A request that goes while it is mapped stays counted: the device would still have it.
void milane_bindings_free(MilaneBindings* bindings) { delete bindings; }

MilaneFailure milane_map(MilaneProgram* program, const void* model, const MilaneRequest* request,
                         MilaneBindings* bindings, bool cache) {
  if (milane_fault(kMapFailure) || (cache && milane_fault(kMapCached))) {
    milane_set_reason("injected");
    return kMap;
  }
  try {
    if (!program->loaded->loaded) return kMap;
    if (bindings->get(program->loaded, *request).failure != kSucceeded) return kMap;
    const std::lock_guard lock(bindings->lock);
    if (bindings->mapped.insert(model).second) milane_live_add(kMappedCount, 1);
    return kSucceeded;
  } catch (const std::exception& e) {
    milane_set_reason(e.what());
    return kMap;
  }
}

void milane_unmap(const void* model, MilaneBindings* bindings) {
  const std::lock_guard lock(bindings->lock);
  if (bindings->mapped.erase(model) > 0) milane_live_add(kMappedCount, -1);
}

MilaneFailure milane_evaluate(MilaneProgram* program, const MilaneRequest* request,
                              MilaneBindings* bindings, bool events) {
  if (!program->loaded->loaded) return kNotLoaded;
  if (const MilaneFailure fault = injected()) {
    milane_set_reason("injected");
    return fault;
  }
  try {
    const Prepared prepared = bindings->get(program->loaded, *request);
    if (prepared.failure != kSucceeded) return prepared.failure;
    if (events) program->loaded->had_events = true;
    const std::lock_guard lock(prepared.binding->lock);
    prepared.binding->request->eval();
    return kSucceeded;
  } catch (const std::exception& e) {
    milane_set_reason(e.what());
    return kStatus1d;
  }
}
