// _core.training: the CPU part of a training step, over C-contiguous float32 arrays.
#include <pybind11/numpy.h>

#include <string>

#include "bindings/bindings.h"
#include "core/error.h"
#include "training/ops.h"

namespace py = pybind11;

namespace milane::bindings {
namespace {

using Floats = py::array_t<float, py::array::c_style>;
using Tokens = py::array_t<std::int32_t, py::array::c_style>;

// Shapes and dtypes were checked in Python (milane.train.ops), which words the messages.
float* writable(Floats& array) { return array.mutable_data(); }

host::MatrixRef matrix_of(const py::array& array) {
  const auto size = array.itemsize();
  return {size == 2 ? DType::kFp16 : DType::kFp32, array.data(), array.strides(0) / size,
          array.strides(1) / size};
}

}  // namespace

void bind_training(py::module_& m) {
  auto t = m.def_submodule("training", "The CPU part of a training step; see milane.train.ops.");
  t.def(
      "rmsnorm",
      [](Floats out, const Floats& x, const Floats& w, float eps) {
        float* const to = writable(out);
        const py::gil_scoped_release release;
        training::rmsnorm(to, x.data(), w.data(), x.shape(0), x.shape(1), eps);
      },
      py::arg("out").noconvert(), py::arg("x").noconvert(), py::arg("w").noconvert(),
      py::arg("eps"), "out, x [d, s]; w [d].");
  t.def(
      "rmsnorm_backward",
      [](Floats dx, Floats dw, const Floats& dy, const Floats& x, const Floats& w, float eps) {
        float *const to = writable(dx), *const weights = writable(dw);
        const py::gil_scoped_release release;
        training::rmsnorm_backward(to, weights, dy.data(), x.data(), w.data(), x.shape(0),
                                   x.shape(1), eps);
      },
      py::arg("dx").noconvert(), py::arg("dw").noconvert(), py::arg("dy").noconvert(),
      py::arg("x").noconvert(), py::arg("w").noconvert(), py::arg("eps"),
      "dx, dy, x [d, s]; dw [d] is added to; w [d].");
  t.def(
      "adam_update",
      [](Floats w, const Floats& g, Floats m1, Floats m2, std::int64_t step, float lr, float beta1,
         float beta2, float eps, float weight_decay, float grad_scale) {
        float *const weights = writable(w), *const first = writable(m1),
                     *const second = writable(m2);
        const py::gil_scoped_release release;
        training::adam_update(weights, g.data(), first, second, w.size(),
                              {step, lr, beta1, beta2, eps, weight_decay, grad_scale});
      },
      py::arg("w").noconvert(), py::arg("g").noconvert(), py::arg("m").noconvert(),
      py::arg("v").noconvert(), py::arg("t"), py::arg("lr"), py::arg("beta1"), py::arg("beta2"),
      py::arg("eps"), py::arg("weight_decay"), py::arg("grad_scale"), "All of one size.");
  t.def(
      "sum_of_squares",
      [](const Floats& x) {
        const py::gil_scoped_release release;
        return training::sum_of_squares(x.data(), x.size());
      },
      py::arg("x").noconvert(), "In float64.");
  t.def(
      "product",
      [](Floats c, const py::array& a, const py::array& b, bool add) {
        float* const to = writable(c);
        const auto left = matrix_of(a), right = matrix_of(b);
        const host::MatmulShape shape{a.shape(0), b.shape(1), a.shape(1)};
        const py::gil_scoped_release release;
        training::product(to, left, right, shape, add);
      },
      py::arg("c").noconvert(), py::arg("a"), py::arg("b"), py::arg("add"),
      "c [m, n] = a [m, k] b [k, n], float16 or float32 with any strides; or c += a b.");
  t.def(
      "cross_entropy",
      [](Floats dlogits, const Floats& logits, const Tokens& targets, float scale) {
        float* const to = writable(dlogits);
        const py::gil_scoped_release release;
        return training::cross_entropy(to, logits.data(), targets.data(), logits.shape(0),
                                       logits.shape(1), scale);
      },
      py::arg("dlogits").noconvert(), py::arg("logits").noconvert(), py::arg("targets").noconvert(),
      py::arg("scale"), "dlogits, logits [v, s]; targets [s]; the mean loss.");
  t.def(
      "embed_lookup",
      [](Floats x, const Floats& table, const Tokens& tokens) {
        float* const to = writable(x);
        const py::gil_scoped_release release;
        training::embed_lookup(to, table.data(), tokens.data(), x.shape(0), x.shape(1));
      },
      py::arg("x").noconvert(), py::arg("table").noconvert(), py::arg("tokens").noconvert(),
      "x [d, s]; table [v, d]; tokens [s].");
  t.def(
      "embed_backward",
      [](Floats gradient, const Floats& dx, const Tokens& tokens) {
        float* const to = writable(gradient);
        const py::gil_scoped_release release;
        training::embed_backward(to, dx.data(), tokens.data(), dx.shape(0), dx.shape(1));
      },
      py::arg("gradient").noconvert(), py::arg("dx").noconvert(), py::arg("tokens").noconvert(),
      "gradient [v, d] is added to; dx [d, s]; tokens [s].");
}

}  // namespace milane::bindings
