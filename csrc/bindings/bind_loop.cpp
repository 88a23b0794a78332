// Loops over bound requests.
#include "backend/loop.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "core/error.h"

namespace py = pybind11;

namespace milane::bindings {
namespace {

using Arrays = std::vector<std::pair<SurfacePtr, py::array>>;
using Copies = std::vector<std::pair<SurfacePtr, SurfacePtr>>;
using Stages = std::vector<std::pair<std::vector<BoundRequestPtr>, Copies>>;

// What Python has made sure of already; without it a loop would read or write past an array.
StepArray step_array(const SurfacePtr& surface, const py::array& array, std::int64_t steps) {
  const TensorLayout& layout = surface->layout();
  const bool as_float = layout.dtype() == DType::kFp16 && array.dtype().is(py::dtype("f"));
  const bool same = array.dtype().equal(numpy_dtype(layout.dtype()));
  Dims shape{steps};
  shape.insert(shape.end(), layout.shape().begin(), layout.shape().end());
  if (!(same || as_float) || !(array.flags() & py::array::c_style) ||
      Dims(array.shape(), array.shape() + array.ndim()) != shape) {
    throw Error(ErrorCode::kInvalidArgument,
                "loop: expected a dense array " + to_string(shape) + " of the surface's dtype");
  }
  return {surface, static_cast<std::byte*>(const_cast<void*>(array.data())), as_float};
}

void run(std::int64_t steps, const Arrays& feeds, const Stages& stages, const Arrays& taps) {
  Loop loop;
  for (const auto& [surface, array] : feeds) {
    loop.feeds.push_back(step_array(surface, array, steps));
  }
  for (const auto& [ring, copies] : stages) {
    LoopStage& stage = loop.stages.emplace_back();
    stage.ring = ring;
    for (const auto& [from, to] : copies) stage.before.push_back({from, to});
  }
  for (const auto& [surface, array] : taps) {
    loop.taps.push_back(step_array(surface, array, steps));
  }
  py::gil_scoped_release release;
  run_loop(loop, steps);
}

}  // namespace

void bind_loop(py::module_& m) {
  m.def("run_loop", &run, py::kw_only(), py::arg("steps"), py::arg("feeds"), py::arg("stages"),
        py::arg("taps"),
        "Evaluates the stages, rings of requests with copies to do before, so many times; copies\n"
        "the feeds' arrays in before every step, and the taps' out after it.");
  m.def("copy_surface", &copy_surface, py::arg("source"), py::arg("target"),
        py::call_guard<py::gil_scoped_release>(),
        "Copies all elements to a surface of the same dtype and shape.\n\n"
        "Raises:\n"
        "    UnsupportedLayoutError: another dtype or shape.");
}

}  // namespace milane::bindings
