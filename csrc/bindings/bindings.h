// One function per topic; module.cpp calls them all.
#pragma once

#include <pybind11/pybind11.h>

namespace milane::bindings {

void bind_errors(pybind11::module_& m);
void bind_core(pybind11::module_& m);
void bind_blob(pybind11::module_& m);
void bind_mil(pybind11::module_& m);  // makes the submodule `mil`
void bind_ops(pybind11::module_& mil);
void bind_device(pybind11::module_& mil);  // likewise into `mil`
void bind_surface(pybind11::module_& m);
void bind_cache(pybind11::module_& m);
void bind_runtime(pybind11::module_& m);
void bind_events(pybind11::module_& m);
void bind_apple(pybind11::module_& m);
void bind_loop(pybind11::module_& m);
void bind_training(pybind11::module_& m);
void bind_limits(pybind11::module_& m);

}  // namespace milane::bindings
