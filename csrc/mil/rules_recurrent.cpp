// Recurrent layers over x [sequence, batch, input]; weights stack the gates along axis 0.
#include <array>

#include "mil/rules.h"

namespace milane::mil {
namespace {

struct Cell {
  std::int64_t gates;
  std::int64_t directions = 1;
};

const std::initializer_list<std::string_view> kActivations = {
    "tanh", "scaled_tanh", "sigmoid", "sigmoid_hard", "hard_sigmoid", "relu", "linear"};

// weight_ih [gates * H, input], weight_hh [gates * H, H], bias [gates * H].
void check_weights(const OpArgs& args, std::int64_t gates, const std::string& suffix) {
  const auto ih = "weight_ih" + suffix, hh = "weight_hh" + suffix;
  check_rank(args, ih, 2, 2);
  check_rank(args, hh, 2, 2);
  const auto hidden = args.dims(hh)[1];
  const auto rows = dim_product(gates, hidden);
  check_shape(args, hh, {rows, hidden});
  check_shape(args, ih, {rows, args.dims("x")[2]});
  if (args.has("bias" + suffix)) check_shape(args, "bias" + suffix, {rows});
  if (args.has("peephole" + suffix))
    check_shape(args, "peephole" + suffix, {dim_product(3, hidden)});
}

// The sequence of outputs (or the last one), then the final states.
Types recurrent(const OpArgs& args, const Cell& cell, std::size_t states) {
  check_rank(args, "x", 3, 3);
  check_weights(args, cell.gates, "");
  const auto& x = args.type("x");
  const auto width = dim_product(cell.directions, args.dims("weight_hh")[1]);
  for (const auto name : {"initial_h", "initial_c"}) {
    if (args.has(name)) check_shape(args, name, {x.dims[1], width});
  }
  for (const auto name : {"activation", "recurrent_activation", "cell_activation"}) {
    if (args.has(name)) choice(args, name, kActivations);
  }
  const auto length = args.boolean("output_sequence") ? x.dims[0] : 1;
  Types out = tensor_of(x.dtype, {length, x.dims[1], width});
  for (std::size_t i = 0; i < states; ++i) {
    out.push_back(Type::tensor(x.dtype, {x.dims[1], width}));
  }
  return out;
}

}  // namespace

Types rule_gru(const OpArgs& args) {
  choice(args, "direction", {"forward", "reverse"});
  auto out = recurrent(args, {3}, 1);
  if (args.has("input_bias")) {
    check_shape(args, "input_bias", {dim_product(3, args.dims("weight_hh")[1])});
  }
  return out;
}

Types rule_lstm(const OpArgs& args) {
  const auto& direction = choice(args, "direction", {"forward", "reverse", "bidirectional"});
  if (direction != "bidirectional") return recurrent(args, {4}, 2);
  for (const auto name : {"weight_ih_back", "weight_hh_back"}) {
    if (!args.has(name)) {
      args.fail("direction", std::string("expected an argument `") + name +
                                 "` with direction bidirectional, got none");
    }
  }
  check_rank(args, "x", 3, 3);
  check_weights(args, 4, "_back");
  return recurrent(args, {4, 2}, 2);
}

Types rule_rnn(const OpArgs& args) {
  choice(args, "direction", {"forward", "reverse"});
  return recurrent(args, {1}, 1);
}

}  // namespace milane::mil
