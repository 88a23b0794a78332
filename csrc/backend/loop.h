// Evaluations of several kernels, over and over, without anything above C++ in between.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/session.h"

namespace milane {

// A dense row-major array with one tensor per step, and the surface that takes or gives it. Its
// elements are the surface's, or float where `as_float` and the surface holds fp16.
struct StepArray {
  SurfacePtr surface;
  std::byte* data = nullptr;  // read by feeds, written by taps
  bool as_float = false;
};

struct SurfaceCopy {
  SurfacePtr from, to;  // of one dtype and shape
};

struct LoopStage {
  std::vector<BoundRequestPtr> ring;  // step i evaluates request i % size
  std::vector<SurfaceCopy> before;    // done before each evaluation
};

struct Loop {
  std::vector<StepArray> feeds;  // copied in when a step begins
  std::vector<LoopStage> stages;
  std::vector<StepArray> taps;  // copied out when a step has ended
};

// Throws what an evaluation throws; the steps before it are done.
void run_loop(const Loop& loop, std::int64_t steps);

// All elements of one surface to another of the same dtype and shape, whatever their strides.
// Throws kLayout for others.
void copy_surface(Surface& from, Surface& to);

}  // namespace milane
