// A loaded program: a compiled one with the layouts it publishes and a queue.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <semaphore>
#include <string>
#include <vector>

#include "emulated/framework/compiled.h"
#include "emulated/framework/tensors.h"

namespace milane::emulated {

struct Procedure {
  KernelPtr kernel;
  std::vector<DeviceTensor> inputs, outputs;               // in the kernel's order
  std::vector<std::size_t> listed_inputs, listed_outputs;  // the same by name, as they are listed
};

struct Loaded {
  explicit Loaded(CompiledPtr from);

  const CompiledPtr compiled;
  const std::uint64_t handle;
  std::vector<std::string> input_symbols, output_symbols;
  std::vector<Procedure> procedures;
  std::counting_semaphore<kQueueDepth> queue{kQueueDepth};
  std::atomic<long> in_flight{0}, asynchronous{0};
  std::atomic<bool> loaded{true}, had_events{false};
};

}  // namespace milane::emulated

// The C interface's name for a shared hold on one.
struct MilaneProgram {
  std::shared_ptr<milane::emulated::Loaded> loaded;
};
