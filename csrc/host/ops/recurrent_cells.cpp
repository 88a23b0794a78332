#include <algorithm>

#include "host/ops/operands.h"
#include "host/ops/recurrent.h"

namespace milane::host {
namespace {

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }
float tanh_of(float x) { return std::tanh(x); }
float relu(float x) { return x > 0.0f ? x : 0.0f; }
float linear(float x) { return x; }
// alpha 0.2, beta 0.5
float sigmoid_hard(float x) { return std::min(std::max(0.2f * x + 0.5f, 0.0f), 1.0f); }
// alpha 1.7159, beta 2/3
float scaled_tanh(float x) { return 1.7159f * std::tanh(x * (2.0f / 3.0f)); }

std::size_t round_up64(std::size_t n) { return (n + 63) / 64 * 64; }

std::byte* at(std::byte* p, DType dtype, std::int64_t i) {
  return p + i * static_cast<std::int64_t>(dtype_size(dtype));
}

// Working memory of a run.
struct Memory {
  float* projected;  // [length][batch][gates * hidden]: W x + b of every step
  float* gates;      // [batch][gates * hidden]: R h of this step
  float* h;          // [batch][hidden]
  float* c;          // [batch][hidden]: lstm's cell state; gru's r * h
  std::byte* product;
};

struct Sizes {
  std::size_t projected, gates, state, product;
};

Sizes sizes_of(const RecurrentLayer& l, int slots) {
  const auto floats = [](std::int64_t n) {
    return round_up64(static_cast<std::size_t>(n) * sizeof(float));
  };
  const std::int64_t rows = l.gates() * l.hidden;
  return {floats(l.length * l.batch * rows), floats(l.batch * rows), floats(l.batch * l.hidden),
          round_up64(std::max(linear_packed_bytes(l.length * l.batch, rows, l.input, slots),
                              linear_packed_bytes(l.batch, rows, l.hidden, slots)))};
}

Memory divide(const RecurrentLayer& l, std::byte* memory, int slots) {
  const Sizes s = sizes_of(l, slots);
  Memory m;
  const auto take = [&](std::size_t bytes) {
    std::byte* const p = memory;
    memory += bytes;
    return p;
  };
  m.projected = reinterpret_cast<float*>(take(s.projected));
  m.gates = reinterpret_cast<float*>(take(s.gates));
  m.h = reinterpret_cast<float*>(take(s.state));
  m.c = reinterpret_cast<float*>(take(s.state));
  m.product = take(s.product);
  return m;
}

// x, r: [4 * hidden] in the order input, forget, output, cell; h, c: [hidden]
void lstm_cell(const RecurrentLayer& l, const float* x, const float* r, float* h, float* c) {
  const std::int64_t n = l.hidden;
  const float* const p = l.peephole.empty() ? nullptr : l.peephole.data();
  for (std::int64_t j = 0; j < n; ++j) {
    const float before = c[j];
    float in = x[j] + r[j], forget = x[n + j] + r[n + j], out = x[2 * n + j] + r[2 * n + j];
    if (p != nullptr) {
      in += p[j] * before;
      forget += p[n + j] * before;
    }
    const float z = l.cell_input(x[3 * n + j] + r[3 * n + j]);
    float state = l.recurrent(forget) * before + l.recurrent(in) * z;
    if (l.clip > 0.0f) state = std::min(std::max(state, -l.clip), l.clip);
    if (p != nullptr) out += p[2 * n + j] * state;
    c[j] = state;
    h[j] = l.recurrent(out) * l.output(state);
  }
}

// m.gates[batch][gates * hidden] = R h + bias
void recurrent_product(const RecurrentLayer& l, const Memory& m, int slots) {
  const float* const bias = l.hidden_bias.empty() ? nullptr : l.hidden_bias.data();
  const OutputRef to{DType::kFp32, m.gates, l.gates() * l.hidden, nullptr, bias};
  linear_packed({DType::kFp32, m.h, l.hidden, 1}, l.batch, l.weight_hh.view(), to,
                {m.product, slots});
}

void gru_step(const RecurrentLayer& l, const float* x, const Memory& m, int slots) {
  const std::int64_t n = l.hidden, rows = 3 * n;  // gates: reset, output, update
  recurrent_product(l, m, slots);
  for (std::int64_t b = 0; b < l.batch; ++b) {
    const float* const xb = x + b * rows;
    const float* const g = m.gates + b * rows;
    float* const h = m.h + b * n;
    for (std::int64_t j = 0; j < n; ++j) {
      const float r = l.recurrent(xb[j] + g[j]);
      const float o = l.output(xb[n + j] + r * g[n + j]);
      const float z = l.recurrent(xb[2 * n + j] + g[2 * n + j]);
      h[j] = (1.0f - z) * o + z * h[j];
    }
  }
}

void step(const RecurrentLayer& l, const float* x, const Memory& m, int slots) {
  if (l.cell == Cell::kGru) return gru_step(l, x, m, slots);
  const std::int64_t rows = l.gates() * l.hidden;
  recurrent_product(l, m, slots);
  for (std::int64_t b = 0; b < l.batch; ++b) {
    const float *const xb = x + b * rows, *const g = m.gates + b * rows;
    float* const h = m.h + b * l.hidden;
    if (l.cell == Cell::kLstm) {
      lstm_cell(l, xb, g, h, m.c + b * l.hidden);
      continue;
    }
    for (std::int64_t j = 0; j < l.hidden; ++j) h[j] = l.output(xb[j] + g[j]);
  }
}

}  // namespace

Activation activation_named(const std::string& name) {
  if (name == "sigmoid") return sigmoid;
  if (name == "tanh") return tanh_of;
  if (name == "relu") return relu;
  if (name == "linear") return linear;
  if (name == "sigmoid_hard" || name == "hard_sigmoid") return sigmoid_hard;
  if (name == "scaled_tanh") return scaled_tanh;
  return nullptr;
}

std::size_t RecurrentLayer::bytes(int slots) const {
  const Sizes s = sizes_of(*this, slots);
  return s.projected + s.gates + 2 * s.state + s.product;
}

void RecurrentLayer::run(DType dtype, const std::byte* x, const std::byte* initial_h,
                         const std::byte* initial_c, const Outputs& out, std::byte* memory,
                         int slots) const {
  const Memory m = divide(*this, memory, slots);
  const std::int64_t rows = gates() * hidden;
  linear_packed(
      {dtype, x, input, 1}, length * batch, weight_ih.view(),
      {DType::kFp32, m.projected, rows, nullptr, input_bias.empty() ? nullptr : input_bias.data()},
      {m.product, slots});
  const auto size = static_cast<std::int64_t>(dtype_size(dtype));
  for (std::int64_t b = 0; b < batch; ++b) {
    to_floats(m.h + b * hidden, dtype, initial_h + b * out.state_row * size, hidden);
    if (initial_c != nullptr)
      to_floats(m.c + b * hidden, dtype, initial_c + b * out.state_row * size, hidden);
  }
  for (std::int64_t s = 0; s < length; ++s) {
    const std::int64_t t = reverse ? length - 1 - s : s;
    step(*this, m.projected + t * batch * rows, m, slots);
    if (!every_step && s + 1 < length) continue;
    std::byte* const y = at(out.y, out.dtype, every_step ? t * out.y_step : 0);
    for (std::int64_t b = 0; b < batch; ++b) {
      from_floats(out.dtype, at(y, out.dtype, b * out.y_row), m.h + b * hidden, hidden);
    }
  }
  for (std::int64_t b = 0; b < batch; ++b) {
    from_floats(out.dtype, at(out.last_h, out.dtype, b * out.state_row), m.h + b * hidden, hidden);
    if (out.last_c == nullptr) continue;
    from_floats(out.dtype, at(out.last_c, out.dtype, b * out.state_row), m.c + b * hidden, hidden);
  }
}

}  // namespace milane::host
