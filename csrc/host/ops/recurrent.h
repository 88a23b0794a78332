// The cells of lstm, gru and rnn: state in fp32 inside the operation, rounded at its outputs only.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "host/gemm.h"
#include "host/op.h"

namespace milane::host {

using Activation = float (*)(float);
// "sigmoid", "tanh", "relu", "linear", "sigmoid_hard" / "hard_sigmoid", "scaled_tanh"; else
// nullptr.
Activation activation_named(const std::string& name);

enum class Cell { kLstm, kGru, kRnn };

// One direction of one layer: gates stacked as the weights have them.
struct RecurrentLayer {
  Cell cell = Cell::kLstm;
  std::int64_t length = 0, batch = 0, input = 0, hidden = 0;
  bool reverse = false;
  bool every_step = false;
  float clip = 0.0f;  // lstm: bound of the cell state, 0 for none
  Activation recurrent = nullptr, cell_input = nullptr, output = nullptr;
  PackedMatrix weight_ih, weight_hh;
  std::vector<float> input_bias, hidden_bias;  // added to W x, and to R h; empty for none
  std::vector<float> peephole;                 // lstm: input, forget, output gate; empty for none

  std::int64_t gates() const { return cell == Cell::kLstm ? 4 : cell == Cell::kGru ? 3 : 1; }
  std::size_t bytes(int slots) const;  // of working memory

  // Where the results go: element strides of a step and of a batch row of y.
  struct Outputs {
    DType dtype;
    std::byte *y, *last_h, *last_c;
    std::int64_t y_step, y_row, state_row;
  };
  // x[length, batch, input]; initial states with rows `state_row` apart, floats or halves.
  void run(DType dtype, const std::byte* x, const std::byte* initial_h, const std::byte* initial_c,
           const Outputs& out, std::byte* memory, int slots) const;
};

}  // namespace milane::host
