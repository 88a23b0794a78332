// Constants, states, lists, and operations whose types only the text gives.
#include "mil/rules.h"

namespace milane::mil {
namespace {

// Lists of unknown element take any; otherwise the value must fit the element.
void check_element(const OpArgs& args, const Type& element) {
  const auto& wanted = args.type("ls").params.front();
  if (compatible(element, wanted)) return;
  args.fail("value", "expected an element of " + to_string(wanted) + ", got " + to_string(element));
}

}  // namespace

Types rule_const(const OpArgs& args) { return {args.type("val")}; }

Types rule_read_state(const OpArgs& args) { return {args.type("input").unwrapped()}; }

Types rule_write_state(const OpArgs& args) {
  const auto& wrapped = args.type("input").unwrapped();
  check_shape(args, "data", wrapped.dims);
  return {};
}

Types rule_update_state(const OpArgs& args) {
  const auto& wrapped = args.type("state").unwrapped();
  check_shape(args, "value", wrapped.dims);
  return {wrapped};
}

// Nested blocks give the types of cond and while_loop (see verify.cpp), classes those of classify.
Types rule_as_declared(const OpArgs&) { throw ValueNotAtHand{}; }

// Layout is the text's own choice here.
Types rule_tensor_buffer(const OpArgs&) { throw ValueNotAtHand{}; }

// A string in elem_shape stands for a size known at run time only.
Types rule_make_list(const OpArgs& args) {
  const auto dtype =
      named_dtype(args, "dtype", {DType::kFp16, DType::kFp32, DType::kInt32, DType::kBool});
  Dims element;
  for (const auto& size : args.list("elem_shape")) {
    if (!size.value) throw ValueNotAtHand{};
    if (!size.type.is_scalar()) {
      args.fail("elem_shape", "expected scalars in elem_shape, got " + to_string(size.type));
    }
    element.push_back(size.type.dtype == DType::kString ? kUnknownDim : size.value->integer());
  }
  const auto length = args.known("init_length") ? args.integer("init_length") : kUnknownDim;
  return {Type::list(Type::tensor(dtype, std::move(element)), length)};
}

Types rule_list_length(const OpArgs&) { return tensor_of(DType::kInt32, {}); }

Types rule_list_read(const OpArgs& args) { return {args.type("ls").params.front()}; }

Types rule_list_write(const OpArgs& args) {
  check_element(args, args.type("value"));
  return {args.type("ls")};
}

Types rule_list_gather(const OpArgs& args) {
  auto out = args.type("ls").params.front();
  check_rank(args, "indices", 1, 1);
  out.dims.insert(out.dims.begin(), args.dims("indices")[0]);
  return {out};
}

Types rule_list_scatter(const OpArgs& args) {
  auto element = args.type("value");
  check_rank(args, "indices", 1, 1);
  if (element.dims.empty() || !dims_agree(element.dims[0], args.dims("indices")[0])) {
    args.fail("value", "expected one element for each of " + to_string(args.dims("indices")) +
                           " indices, got " + to_string(element.dims));
  }
  element.dims.erase(element.dims.begin());
  check_element(args, element);
  return {args.type("ls")};
}

}  // namespace milane::mil
