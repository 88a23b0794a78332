#include "backend/loop.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/half.h"

namespace milane {
namespace {

std::size_t step_bytes(const StepArray& array) {
  const TensorLayout& layout = array.surface->layout();
  const std::size_t elem = array.as_float ? sizeof(float) : layout.elem_size();
  return static_cast<std::size_t>(layout.logical_elements()) * elem;
}

void feed(const StepArray& array, std::int64_t step) {
  const TensorLayout& layout = array.surface->layout();
  const std::byte* data = array.data + static_cast<std::size_t>(step) * step_bytes(array);
  const Surface::Lock lock(*array.surface, true);
  if (!array.as_float) return copy_rows_from_dense(layout, lock.data(), data);
  const auto* values = reinterpret_cast<const float*>(data);
  for_each_run(layout, [&](std::size_t offset, std::int64_t first, std::int64_t count) {
    convert_float_to_half(reinterpret_cast<Half*>(lock.data() + offset), values + first,
                          static_cast<std::size_t>(count));
  });
}

void tap(const StepArray& array, std::int64_t step) {
  const TensorLayout& layout = array.surface->layout();
  std::byte* data = array.data + static_cast<std::size_t>(step) * step_bytes(array);
  const Surface::Lock lock(*array.surface, false);
  if (!array.as_float) return copy_rows_to_dense(layout, lock.data(), data);
  auto* values = reinterpret_cast<float*>(data);
  for_each_run(layout, [&](std::size_t offset, std::int64_t first, std::int64_t count) {
    convert_half_to_float(values + first, reinterpret_cast<const Half*>(lock.data() + offset),
                          static_cast<std::size_t>(count));
  });
}

}  // namespace

void copy_surface(Surface& from, Surface& to) {
  const TensorLayout &source = from.layout(), &target = to.layout();
  if (source.dtype() != target.dtype() || source.shape() != target.shape()) {
    throw Error(ErrorCode::kLayout, "copy: expected " + std::string(dtype_name(target.dtype())) +
                                        " " + to_string(target.shape()) + ", got " +
                                        std::string(dtype_name(source.dtype())) + " " +
                                        to_string(source.shape()));
  }
  if (&from == &to) return;
  const Surface::Lock read(from, false), write(to, true);
  if (source.strides() == target.strides()) {  // padding included: one copy
    std::memcpy(write.data(), read.data(), std::min(source.alloc_size(), target.alloc_size()));
    return;
  }
  const std::size_t row = source.row_bytes();
  const std::int64_t rows = source.rows();
  for (std::int64_t i = 0; i < rows; ++i) {
    std::memcpy(write.data() + target.row_offset(i), read.data() + source.row_offset(i), row);
  }
}

void run_loop(const Loop& loop, std::int64_t steps) {
  for (std::int64_t step = 0; step < steps; ++step) {
    for (const StepArray& array : loop.feeds) feed(array, step);
    for (const LoopStage& stage : loop.stages) {
      for (const SurfaceCopy& copy : stage.before) copy_surface(*copy.from, *copy.to);
      stage.ring[static_cast<std::size_t>(step) % stage.ring.size()]->eval();
    }
    for (const StepArray& array : loop.taps) tap(array, step);
  }
}

}  // namespace milane
