#include "bindings/bindings.h"

PYBIND11_MODULE(_core, m) {
  using namespace milane::bindings;
  m.doc() = "Milane's native library.";
  bind_errors(m);
  bind_core(m);
  bind_blob(m);
  bind_mil(m);
  auto mil = m.attr("mil").cast<pybind11::module_>();
  bind_ops(mil);
  bind_device(mil);
  bind_surface(m);
  bind_events(m);
  bind_apple(m);
  bind_cache(m);
  bind_runtime(m);
  bind_loop(m);
  bind_training(m);
  bind_limits(m);
}
