// A plan as a kernel, and its requests.
#pragma once

#include <memory>

#include "backend/backend.h"
#include "host/plan.h"

namespace milane::host {

KernelPtr make_host_kernel(std::shared_ptr<const Plan> plan);

}  // namespace milane::host
