// lstm, gru and rnn: arguments to layers.
#include "host/ops/recurrent.h"

#include <algorithm>
#include <memory>

#include "host/baking.h"
#include "host/ops/operands.h"

namespace milane::host {
namespace {

// A constant operand; recurrent weights are constants in every opset.
Operand constant(const OpSite& site, const std::string& name) {
  const Operand o = site.in(name);
  require_float(site, {o});
  if (o.present() && !o.is_constant()) {
    throw Error(ErrorCode::kUnsupportedOp, std::string(site.args.schema().name) +
                                               ": expected a constant " + name +
                                               " on the host, got a value of the run");
  }
  return o;
}

std::vector<float> floats(const OpSite& site, const std::string& name) {
  const Operand o = constant(site, name);
  std::vector<float> values(o.present() ? static_cast<std::size_t>(o.count()) : 0);
  if (o.present()) to_floats(values.data(), o.dtype, o.constant, o.count());
  return values;
}

PackedMatrix packed(const OpSite& site, const std::string& name) {
  const Operand o = constant(site, name);
  const auto fill = [&](const PackedView& to) {
    pack_rows(to, {o.dtype, o.constant, o.dims[1], 1}, 0, o.dims[1]);
  };
  return pack_constant(site, o, {o.dtype, o.dims[0], o.dims[1]}, fill);
}

Activation activation(const OpSite& site, std::string_view name) {
  const std::string& text = site.args.text(name);
  const Activation f = activation_named(text);
  if (f == nullptr) {
    throw Error(ErrorCode::kUnsupportedOp, std::string(site.args.schema().name) +
                                               ": expected a known " + std::string(name) +
                                               ", got \"" + text + "\"");
  }
  return f;
}

RecurrentLayer layer(OpSite& site, Cell cell, const std::string& suffix) {
  const Operand x = site.in("x");
  require_float(site, {x, site.in("initial_h"), site.in("initial_c")});
  RecurrentLayer l;
  l.cell = cell;
  l.length = x.dims[0];
  l.batch = x.dims[1];
  l.input = x.dims[2];
  l.hidden = site.in("weight_hh" + suffix).dims[1];
  l.reverse = site.args.text("direction") == "reverse" || !suffix.empty();
  l.every_step = site.args.boolean("output_sequence");
  l.weight_ih = packed(site, "weight_ih" + suffix);
  l.weight_hh = packed(site, "weight_hh" + suffix);
  l.output = activation(site, "activation");
  return l;
}

struct Direction {
  RecurrentLayer layer;
  std::int64_t offset;  // of its part of a row of outputs and states
};

RunFn run_layers(OpSite& site, std::vector<Direction> directions) {
  const Operand x = site.in("x"), h = site.in("initial_h"), c = site.in("initial_c");
  const Operand y = site.out(0), last_h = site.out(1);
  const Operand last_c = site.outputs() > 2 ? site.out(2) : Operand{};
  const int slots = num_threads();
  std::size_t bytes = 0;
  for (const Direction& d : directions) bytes = std::max(bytes, d.layer.bytes(slots));
  const Scratch work = site.scratch(bytes);
  const auto shared = std::make_shared<const std::vector<Direction>>(std::move(directions));
  const std::int64_t row = y.dims[2];
  return [=](const Exec& e) {
    const auto part = [](std::byte* p, DType dtype, std::int64_t i) {
      return p == nullptr ? nullptr : p + i * static_cast<std::int64_t>(dtype_size(dtype));
    };
    for (const Direction& d : *shared) {
      RecurrentLayer::Outputs out{
          y.dtype,
          part(e.out<std::byte>(y), y.dtype, d.offset),
          part(e.out<std::byte>(last_h), y.dtype, d.offset),
          last_c.present() ? part(e.out<std::byte>(last_c), y.dtype, d.offset) : nullptr,
          y.dims[1] * row,
          row,
          row};
      d.layer.run(x.dtype, e.in<std::byte>(x), part(e.out<std::byte>(h), h.dtype, d.offset),
                  c.present() ? part(e.out<std::byte>(c), c.dtype, d.offset) : nullptr, out,
                  e.scratch<std::byte>(work), slots);
    }
  };
}

RecurrentLayer lstm_layer(OpSite& site, const std::string& suffix) {
  RecurrentLayer l = layer(site, Cell::kLstm, suffix);
  l.recurrent = activation(site, "recurrent_activation");
  l.cell_input = activation(site, "cell_activation");
  l.input_bias = floats(site, "bias" + suffix);
  l.peephole = floats(site, "peephole" + suffix);
  if (site.args.has("clip")) l.clip = static_cast<float>(site.args.number("clip"));
  return l;
}

}  // namespace

RunFn op_lstm(OpSite& site) {
  std::vector<Direction> directions;
  directions.push_back({lstm_layer(site, ""), 0});
  if (site.args.text("direction") == "bidirectional") {
    directions.push_back({lstm_layer(site, "_back"), directions[0].layer.hidden});
  }
  return run_layers(site, std::move(directions));
}

RunFn op_gru(OpSite& site) {
  RecurrentLayer l = layer(site, Cell::kGru, "");
  l.recurrent = activation(site, "recurrent_activation");
  l.input_bias = floats(site, "input_bias");
  l.hidden_bias = floats(site, "bias");
  // The documented formula, o = act(W x + r * (R h) + b), keeps the bias out of the reset product:
  // it may then be added on the input's side. reset_after means r * (R h + b), as in PyTorch.
  if (!site.args.boolean("reset_after")) {
    l.input_bias.resize(std::max(l.input_bias.size(), l.hidden_bias.size()), 0.0f);
    for (std::size_t i = 0; i < l.hidden_bias.size(); ++i) l.input_bias[i] += l.hidden_bias[i];
    l.hidden_bias.clear();
  }
  return run_layers(site, {{std::move(l), 0}});
}

RunFn op_rnn(OpSite& site) {
  RecurrentLayer l = layer(site, Cell::kRnn, "");
  l.input_bias = floats(site, "bias");
  return run_layers(site, {{std::move(l), 0}});
}

}  // namespace milane::host
