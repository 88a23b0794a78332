// A surface in ordinary memory.
#pragma once

#include "backend/backend.h"

namespace milane::host {

// Zeroed, page aligned. With MILANE_GUARDS, words around it catch writes past its end: they are
// checked when the surface is destroyed and at every evaluation.
SurfacePtr make_host_surface(const TensorLayout& layout);

}  // namespace milane::host
