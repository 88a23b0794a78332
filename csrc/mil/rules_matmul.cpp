// Matrix products.
#include <array>

#include "mil/rules.h"

namespace milane::mil {
namespace {

void check_inner(const OpArgs& args, std::string_view name, std::int64_t expected,
                 std::int64_t got) {
  if (dims_agree(expected, got)) return;
  args.fail(name, "expected inner dimensions that agree, got " + std::to_string(expected) +
                      " and " + std::to_string(got));
}

// `nchw,nwhu->nchu`: the labels of two operands and of the result.
struct Equation {
  std::string x, y, out;
};

Equation parse_equation(const OpArgs& args) {
  std::string text;
  for (const char c : args.text("equation")) {
    if (c != ' ') text += c;
  }
  const auto comma = text.find(','), arrow = text.find("->");
  if (comma == std::string::npos || arrow == std::string::npos || arrow < comma) {
    args.fail("equation", "expected `labels,labels->labels`, got \"" + text + "\"");
  }
  return {text.substr(0, comma), text.substr(comma + 1, arrow - comma - 1), text.substr(arrow + 2)};
}

}  // namespace

Types rule_matmul(const OpArgs& args) {
  Dims x = args.dims("x"), y = args.dims("y");
  const bool vector_x = x.size() == 1, vector_y = y.size() == 1;
  const bool transpose_x = args.boolean("transpose_x"), transpose_y = args.boolean("transpose_y");
  if (x.empty()) args.fail("x", "expected x of rank 1 or more, got a scalar");
  if (y.empty()) args.fail("y", "expected y of rank 1 or more, got a scalar");
  if (vector_x && transpose_x) args.fail("x", "expected x of rank 2 or more to transpose, got 1");
  if (vector_y && transpose_y) args.fail("y", "expected y of rank 2 or more to transpose, got 1");
  if (vector_x) x.insert(x.begin(), 1);
  if (vector_y) y.push_back(1);
  if (transpose_x) std::swap(x.end()[-1], x.end()[-2]);
  if (transpose_y) std::swap(y.end()[-1], y.end()[-2]);
  check_inner(args, "y", x.back(), y.end()[-2]);
  Dims out;
  if (!broadcast_dims(Dims(x.begin(), x.end() - 2), Dims(y.begin(), y.end() - 2), &out)) {
    args.fail("y", "expected leading dimensions that broadcast, got " + to_string(args.dims("x")) +
                       " and " + to_string(args.dims("y")));
  }
  if (!vector_x) out.push_back(x.end()[-2]);
  if (!vector_y) out.push_back(y.back());
  return tensor_of(args.type("x").dtype, std::move(out));
}

Types rule_linear(const OpArgs& args) {
  auto out = args.type("x");
  if (out.dims.empty()) args.fail("x", "expected x of rank 1 or more, got a scalar");
  check_rank(args, "weight", 2, 2);  // [out, in]
  const auto& weight = args.dims("weight");
  check_inner(args, "weight", out.dims.back(), weight[1]);
  if (args.has("bias")) check_shape(args, "bias", {weight[0]});
  out.dims.back() = weight[0];
  return {out};
}

Types rule_einsum(const OpArgs& args) {
  const auto values = args.list("values");
  if (values.size() != 2) {
    args.fail("values", "expected 2 values, got " + std::to_string(values.size()));
  }
  const auto equation = parse_equation(args);
  std::array<std::int64_t, 256> size;
  size.fill(0);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto& labels = i == 0 ? equation.x : equation.y;
    const auto& dims = values[i].type.dims;
    if (labels.size() != dims.size()) {
      args.fail("values",
                "expected rank " + std::to_string(labels.size()) + " for \"" + labels + "\", got " +
                    to_string(dims),
                {}, i);
    }
    for (std::size_t d = 0; d < dims.size(); ++d) {
      auto& known = size[static_cast<unsigned char>(labels[d])];
      if (known <= 1) {  // not met yet, unknown, or 1: broadcasts
        known = dims[d] == 1 && known != 0 ? known : dims[d];
      } else if (dims[d] != 1 && !dims_agree(known, dims[d])) {
        args.fail("values",
                  std::string("expected ") + labels[d] + " to be " + std::to_string(known) +
                      ", got " + std::to_string(dims[d]),
                  {}, i);
      }
    }
  }
  Dims out;
  for (const char label : equation.out) {
    const auto known = size[static_cast<unsigned char>(label)];
    if (known == 0) {
      args.fail("equation", std::string("expected labels of the operands after ->, got ") + label);
    }
    out.push_back(known);
  }
  return tensor_of(values[0].type.dtype, std::move(out));
}

// [..., L, E] x [..., S, E] x [..., S, V] gives [..., L, V] (ios18).
Types rule_attention(const OpArgs& args) {
  for (const auto name : {"query", "key", "value"}) check_rank(args, name, 3);
  const auto &query = args.dims("query"), &key = args.dims("key"), &value = args.dims("value");
  check_rank(args, "key", query.size(), query.size());
  check_rank(args, "value", query.size(), query.size());
  check_inner(args, "key", query.back(), key.back());
  if (!dims_agree(key.end()[-2], value.end()[-2])) {
    args.fail("value", "expected value of length " + std::to_string(key.end()[-2]) +
                           " like key, got " + std::to_string(value.end()[-2]));
  }
  Dims out(query.begin(), query.end() - 1);
  for (std::size_t i = 0; i + 2 < query.size(); ++i) {
    if (!dims_agree(query[i], key[i])) {
      args.fail("key", "expected key and query of one batch, got " + to_string(key) + " and " +
                           to_string(query));
    }
    if (!dims_agree(query[i], value[i])) {
      args.fail("value", "expected value and query of one batch, got " + to_string(value) +
                             " and " + to_string(query));
    }
  }
  if (args.has("attn_mask")) {
    auto scores = out;
    scores.push_back(key.end()[-2]);
    Dims broadcast;
    if (!broadcast_dims(scores, args.dims("attn_mask"), &broadcast) ||
        !shapes_agree(broadcast, scores)) {
      args.fail("attn_mask", "expected attn_mask to broadcast to " + to_string(scores) + ", got " +
                                 to_string(args.dims("attn_mask")));
    }
  }
  out.push_back(value.back());
  return tensor_of(args.type("query").dtype, std::move(out));
}

}  // namespace milane::mil
