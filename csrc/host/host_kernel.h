// A program as a kernel of the host engine, and its requests.
#pragma once

#include <memory>

#include "backend/backend.h"
#include "host/plan.h"

namespace milane::host {

// Throws as make_plan does; a program that cannot be lowered carries the device's own domain and
// class, and every error the stage "compile".
KernelPtr compile_host_kernel(mil::ProgramPtr program, const WeightSet& weights,
                              const CompileOptions& options);

}  // namespace milane::host
