#include "bridge/kernel.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "backend/loop.h"
#include "core/error.h"
#include "core/half.h"

namespace milane::bridge {
namespace {

// A port with the words for it: `input 2 (x)`.
struct Chosen {
  const char* kind;
  int index;
  const BoundPort& port;

  Surface& surface() const { return *port.surface; }
  const TensorLayout& layout() const { return port.surface->layout(); }
  std::string text() const {
    return std::string(kind) + " " + std::to_string(index) + " (" + port.name + ")";
  }
  std::string type() const {
    return std::string(dtype_name(layout().dtype())) + " " + to_string(layout().shape());
  }
};

// ports[first + index], where there are `count` behind `first`.
Chosen choose(const char* kind, const std::vector<BoundPort>& ports, std::size_t first, int index) {
  const std::size_t count = ports.size() - first;
  if (index >= 0 && static_cast<std::size_t>(index) < count) {
    return {kind, index, ports[first + static_cast<std::size_t>(index)]};
  }
  throw Error(ErrorCode::kInvalidArgument,
              std::string("expected an index of the kernel's ") + std::to_string(count) + " " +
                  kind + (count == 1 ? "" : "s") + ", got " + std::to_string(index));
}

void check_data(const Chosen& chosen, const void* data, std::size_t size, std::size_t limit,
                const char* unit) {
  if (size > limit) {
    throw Error(ErrorCode::kInvalidArgument, chosen.text() + ": expected at most " +
                                                 std::to_string(limit) + " " + unit + ", of " +
                                                 chosen.type() + ", got " + std::to_string(size));
  }
  if (data == nullptr && size != 0) {
    throw Error(ErrorCode::kInvalidArgument, chosen.text() + ": expected data, got NULL");
  }
}

// f(offset, first, count) for the stretches of the first `size` units of `unit_bytes` each: where
// they are in the surface in bytes, in the dense data in units, and their number.
template <class F>
void for_each_run_below(const TensorLayout& layout, std::size_t size, std::size_t unit_bytes,
                        F&& f) {
  const std::size_t units = layout.elem_size() / unit_bytes;  // of an element
  for_each_run(layout, [&](std::size_t offset, std::int64_t begin, std::int64_t elements) {
    const std::size_t first = static_cast<std::size_t>(begin) * units;
    if (first >= size) return;
    f(offset, first, std::min(static_cast<std::size_t>(elements) * units, size - first));
  });
}

void write_bytes(const Chosen& chosen, const void* data, std::size_t bytes) {
  check_data(chosen, data, bytes, chosen.layout().logical_bytes(), "bytes");
  const auto* dense = static_cast<const std::byte*>(data);
  const Surface::Lock lock(chosen.surface(), true);
  for_each_run_below(chosen.layout(), bytes, 1,
                     [&](std::size_t offset, std::size_t first, std::size_t count) {
                       std::memcpy(lock.data() + offset, dense + first, count);
                     });
}

void read_bytes(const Chosen& chosen, void* data, std::size_t bytes) {
  check_data(chosen, data, bytes, chosen.layout().logical_bytes(), "bytes");
  auto* dense = static_cast<std::byte*>(data);
  const Surface::Lock lock(chosen.surface(), false);
  for_each_run_below(chosen.layout(), bytes, 1,
                     [&](std::size_t offset, std::size_t first, std::size_t count) {
                       std::memcpy(dense + first, lock.data() + offset, count);
                     });
}

void write_floats(const Chosen& chosen, const float* data, std::size_t count) {
  const TensorLayout& layout = chosen.layout();
  if (layout.dtype() != DType::kFp16 && layout.dtype() != DType::kFp32) {
    throw Error(ErrorCode::kDType,
                chosen.text() + ": expected a tensor of fp16 or fp32, got " + chosen.type(),
                "ane_bridge_write_weight() takes data of any type");
  }
  check_data(chosen, data, count, static_cast<std::size_t>(layout.logical_elements()), "floats");
  if (layout.dtype() == DType::kFp32) return write_bytes(chosen, data, count * sizeof(float));
  const Surface::Lock lock(chosen.surface(), true);
  for_each_run_below(layout, count, sizeof(Half),
                     [&](std::size_t offset, std::size_t first, std::size_t n) {
                       auto* halves = reinterpret_cast<Half*>(lock.data() + offset);
                       convert_float_to_half(halves, data + first, n);
                     });
}

}  // namespace

BridgeKernel::BridgeKernel(std::unique_ptr<Session> session, std::size_t n_weights)
    : session_(std::move(session)), n_weights_(n_weights) {}

void BridgeKernel::eval() {
  const std::lock_guard lock(mutex_);
  session_->own()->eval();
}

void BridgeKernel::write_input(int index, const void* data, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  write_bytes(choose("input", session_->inputs(), 0, index), data, bytes);
}

void BridgeKernel::write_weight(int index, const void* data, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto& inputs = session_->inputs();
  write_bytes(choose("weight", inputs, inputs.size() - n_weights_, index), data, bytes);
}

void BridgeKernel::read_output(int index, void* data, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  read_bytes(choose("output", session_->outputs(), 0, index), data, bytes);
}

void BridgeKernel::write_weight_f32(int index, const float* data, std::size_t count) {
  const std::lock_guard lock(mutex_);
  const auto& inputs = session_->inputs();
  write_floats(choose("weight", inputs, inputs.size() - n_weights_, index), data, count);
}

void BridgeKernel::copy(BridgeKernel& from, int output, BridgeKernel& to, int input) {
  std::unique_lock first(from.mutex_, std::defer_lock), second(to.mutex_, std::defer_lock);
  if (&from == &to) {
    first.lock();
  } else {
    std::lock(first, second);
  }
  const Chosen source = choose("output", from.session_->outputs(), 0, output);
  const Chosen target = choose("input", to.session_->inputs(), 0, input);
  if (source.type() != target.type()) {
    throw Error(ErrorCode::kInvalidArgument, target.text() + ": expected " + target.type() +
                                                 ", got " + source.text() + " of " + source.type());
  }
  copy_surface(source.surface(), target.surface());
}

void BridgeKernel::close() {
  const std::lock_guard lock(mutex_);
  session_->close();
}

namespace {

struct Handles {
  std::shared_mutex mutex;
  std::unordered_map<ANEKernelHandle*, BridgeKernelPtr> kernels;
  std::uintptr_t last = 0;
};

// Never destroyed: a process may end while its threads are still in here.
Handles& handles() {
  static Handles& all = *new Handles;
  return all;
}

auto find_in(Handles& all, ANEKernelHandle* handle) {
  if (handle == nullptr) {
    throw Error(ErrorCode::kInvalidArgument, "expected a kernel, got NULL");
  }
  const auto it = all.kernels.find(handle);
  if (it == all.kernels.end()) {
    throw Error(ErrorCode::kClosed,
                "expected a kernel, got one that was freed, or that this library did not make");
  }
  return it;
}

}  // namespace

ANEKernelHandle* add_handle(BridgeKernelPtr kernel) {
  Handles& all = handles();
  const std::unique_lock lock(all.mutex);
  auto* handle = reinterpret_cast<ANEKernelHandle*>(++all.last);
  all.kernels.emplace(handle, std::move(kernel));
  return handle;
}

BridgeKernelPtr find_handle(ANEKernelHandle* handle) {
  Handles& all = handles();
  const std::shared_lock lock(all.mutex);
  return find_in(all, handle)->second;
}

BridgeKernelPtr remove_handle(ANEKernelHandle* handle) {
  Handles& all = handles();
  const std::unique_lock lock(all.mutex);
  const auto it = find_in(all, handle);
  BridgeKernelPtr kernel = std::move(it->second);
  all.kernels.erase(it);
  return kernel;
}

}  // namespace milane::bridge
