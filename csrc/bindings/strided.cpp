#include "bindings/strided.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "core/half.h"
#include "host/parallel.h"

namespace py = pybind11;

namespace milane::bindings {
namespace {

// So many elements at a time pass through the stack when they do not touch in memory.
constexpr std::int64_t kChunk = 512;
// Elements that are worth a thread; whole cache lines of a dense array.
constexpr std::int64_t kShare = std::int64_t{1} << 18;

struct Axis {
  std::int64_t count, target, source;  // steps in bytes
};

// Without axes of length 1; axes that both arrays walk without a jump are one. Never empty.
std::vector<Axis> walk(const py::array& target, const py::array& source) {
  std::vector<Axis> axes;
  for (py::ssize_t i = 0; i < target.ndim(); ++i) {
    const Axis next{target.shape(i), target.strides(i), source.strides(i)};
    if (next.count == 1) continue;
    const bool joins = !axes.empty() && axes.back().target == next.count * next.target &&
                       axes.back().source == next.count * next.source;
    if (joins) {
      axes.back() = {axes.back().count * next.count, next.target, next.source};
    } else {
      axes.push_back(next);
    }
  }
  if (axes.empty()) axes.push_back({1, target.itemsize(), source.itemsize()});
  return axes;
}

// The bytes that an array walks: those before its first element, and those from it on.
struct Extent {
  std::uintptr_t begin, end;
};

Extent extent(const void* data, py::ssize_t itemsize, std::span<const Axis> axes,
              std::int64_t Axis::* step) {
  const auto first = reinterpret_cast<std::intptr_t>(data);
  std::intptr_t begin = first, end = first + itemsize;
  for (const Axis& axis : axes) {
    const auto last = static_cast<std::intptr_t>((axis.count - 1) * axis.*step);
    (last < 0 ? begin : end) += last;
  }
  return {static_cast<std::uintptr_t>(begin), static_cast<std::uintptr_t>(end)};
}

// Calls f(target, source) at the start of every row, the innermost axis.
template <class F>
void for_each_row(std::span<const Axis> axes, std::byte* target, const std::byte* source,
                  const F& f) {
  if (axes.size() == 1) return f(target, source);
  for (std::int64_t i = 0; i < axes[0].count; ++i) {
    for_each_row(axes.subspan(1), target + i * axes[0].target, source + i * axes[0].source, f);
  }
}

// How a row is copied, one of so many elements in all.
using Row = void (*)(const Axis& row, std::byte* target, const std::byte* source, std::size_t all);

void copy_row(const Axis& row, std::byte* target, const std::byte* source, std::size_t) {
  std::memcpy(target, source, static_cast<std::size_t>(row.count * row.target));
}

void widen_row(const Axis& row, std::byte* target, const std::byte* source, std::size_t all) {
  convert_half_to_float(reinterpret_cast<float*>(target), reinterpret_cast<const Half*>(source),
                        static_cast<std::size_t>(row.count), all);
}

void narrow_row(const Axis& row, std::byte* target, const std::byte* source, std::size_t all) {
  const bool dense = row.source == sizeof(float), touching = row.target == sizeof(Half);
  const std::int64_t step = dense && touching ? row.count : kChunk;
  std::array<float, kChunk> wide;
  std::array<Half, kChunk> narrow;
  for (std::int64_t done = 0; done < row.count; done += step) {
    const std::int64_t n = std::min(step, row.count - done);
    std::byte* to = target + done * row.target;
    const std::byte* from = source + done * row.source;
    if (!dense) {
      for (std::int64_t i = 0; i < n; ++i) {
        std::memcpy(&wide[static_cast<std::size_t>(i)], from + i * row.source, sizeof(float));
      }
    }
    convert_float_to_half(touching ? reinterpret_cast<Half*>(to) : narrow.data(),
                          dense ? reinterpret_cast<const float*>(from) : wide.data(),
                          static_cast<std::size_t>(n), touching ? all : 0);
    if (!touching) {
      for (std::int64_t i = 0; i < n; ++i) {
        std::memcpy(to + i * row.target, &narrow[static_cast<std::size_t>(i)], sizeof(Half));
      }
    }
  }
}

bool is_native(const py::array& array, int type_number) {
  const py::dtype type = array.dtype();
  return type.num() == type_number && type.byteorder() == '=';
}

// NumPy lets arrays begin, and step, at any byte.
bool is_aligned(const py::array& array, std::span<const Axis> axes) {
  const auto size = static_cast<std::uintptr_t>(array.itemsize());
  return reinterpret_cast<std::uintptr_t>(array.data()) % size == 0 &&
         std::all_of(axes.begin(), axes.end(), [&](const Axis& axis) {
           return axis.source % static_cast<std::int64_t>(size) == 0;
         });
}

// How a row is copied here, or null where NumPy has to.
Row row_function(const py::array& target, const py::array& source, std::span<const Axis> axes) {
  constexpr int kSingle = 11, kHalf = 23;  // NPY_FLOAT, NPY_HALF
  if (!is_aligned(source, axes)) return nullptr;
  if (is_native(target, kHalf) && is_native(source, kSingle)) return narrow_row;
  const Axis& row = axes.back();
  if (row.target != target.itemsize() || row.source != source.itemsize()) return nullptr;
  if (is_native(target, kSingle) && is_native(source, kHalf)) return widen_row;
  return target.dtype().equal(source.dtype()) ? copy_row : nullptr;
}

// Large arrays are shared out along their first axis.
void run(std::span<const Axis> axes, Row copy, std::byte* target, const std::byte* source) {
  std::int64_t all = 1;
  for (const Axis& axis : axes) all *= axis.count;
  const auto count = static_cast<std::size_t>(all);
  const auto row = [&](std::byte* to, const std::byte* from) {
    copy(axes.back(), to, from, count);
  };
  if (all <= kShare) return for_each_row(axes, target, source, row);
  const Axis& first = axes.front();
  const std::int64_t grain = std::max<std::int64_t>(kShare / (all / first.count), 1);
  host::parallel_for(first.count, grain, [&](std::int64_t begin, std::int64_t end) {
    std::byte* to = target + begin * first.target;
    const std::byte* from = source + begin * first.source;
    if (axes.size() == 1) copy({end - begin, first.target, first.source}, to, from, count);
    for (std::int64_t i = begin; axes.size() > 1 && i < end; ++i) {
      for_each_row(axes.subspan(1), to, from, row);
      to += first.target;
      from += first.source;
    }
    finish_conversion();
  });
}

// NumPy's own copy. Beyond the largest half lies infinity, by IEEE 754: no warning.
void assign_by_numpy(const py::array& target, const py::array& source) {
  const auto numpy = py::module_::import("numpy");
  const py::object quiet = numpy.attr("errstate")(py::arg("over") = "ignore");
  quiet.attr("__enter__")();
  numpy.attr("copyto")(target, source, py::arg("casting") = "unsafe");
  quiet.attr("__exit__")(py::none(), py::none(), py::none());
}

}  // namespace

void assign(const py::array& target, const py::array& source) {
  if (target.size() == 0) return;
  const std::vector<Axis> axes = walk(target, source);
  const Extent to = extent(target.data(), target.itemsize(), axes, &Axis::target);
  const Extent from = extent(source.data(), source.itemsize(), axes, &Axis::source);
  const bool apart = to.end <= from.begin || from.end <= to.begin;
  const Row copy = apart ? row_function(target, source, axes) : nullptr;
  if (!copy) return assign_by_numpy(target, source);
  auto* bytes = static_cast<std::byte*>(const_cast<void*>(target.data()));
  const auto* read = static_cast<const std::byte*>(source.data());
  py::gil_scoped_release release;
  run(axes, copy, bytes, read);
}

}  // namespace milane::bindings
