// The table. Each row names its number in the project's collection of facts (ane_facts D), which
// gives the sources at length; nothing here was tried by this project.
#include "backend/ane_limits.h"

namespace milane {
namespace {

constexpr std::string_view kSeveral = "several sources";
constexpr std::string_view kOne = "one source";
constexpr std::string_view kDisputed = "sources disagree";
constexpr std::string_view kSweep = "ANEForge full_mil_vocabulary_sweep.json";

constexpr LimitRule kRules[] = {
    // D 1. Programs with no other entry than coremlc-component-MIL were written for the device, so
    // the entries are not checked.
    {"build_info", "the program has a `buildInfo` dictionary; what must be in it is not known",
     "maderix/ANE; tmc/apple; mechramc/Orion; skyfallsin/ANE-LM", kSeveral,
     "put [buildInfo = dict<string, string>({{\"coremlc-version\", \"3505.4.1\"}})] behind "
     "program(1.3)",
     true},
    // D 4. Apple's own compiler writes compressed constants, strings and weight files in place;
    // what was refused are true and false, and lists of axes and sizes.
    {"named_operands",
     "a bool or a list that an operation takes has a name; strings, single numbers, weight files "
     "and the operands of constexpr_* may be written in place",
     "mechramc/Orion; tmc/apple x/ane/mil", kSeveral,
     "define it with const before the operation, and pass its name", true},
    // D 6.
    {"output_is_input", "no result of a function is one of its inputs", "ANEForge _compile.py",
     kOne, "return mul(x = input, y = 1) instead"},
    // D 9.
    {"static_shapes", "every size is known",
     "sbryngelson/ane-guide ch. 8 and 19; ANEForge; apple/coreai-models", kSeveral,
     "give the flexible inputs their shapes before the program goes to the device"},
    {"control_flow", "there is no control flow",
     "sbryngelson/ane-guide ch. 8 and 19; ANEForge; apple/coreai-models", kSeveral,
     "unroll the loop, or decide outside of the program", false, "cond while_loop"},
    {"lists", "there are no lists",
     "sbryngelson/ane-guide ch. 8 and 19; ANEForge; apple/coreai-models", kSeveral,
     "keep the elements in one tensor: stack, split, slice_by_size", false,
     "list_gather list_length list_read list_scatter list_write make_list"},
    // D 10. Look-up tables have two axes more than the weight they stand for (ANEForge _blob.py).
    {"rank", "no tensor has more than 5 axes, the operands of constexpr_* excepted",
     "sbryngelson/ane-guide ch. 4; ANEForge; apple/coreai-models", kSeveral,
     "merge neighbouring axes with reshape"},
    // D 21. Small integer constants in the text are parameters of operations.
    {"integer_weights",
     "constants from a weight file are floats (fp32 is rounded to fp16), the operands of "
     "constexpr_* excepted",
     "sbryngelson/ane-guide ch. 4", kOne,
     "store the weight as fp16, or as the data of constexpr_affine_dequantize"},
    // D 22.
    {"constexpr_reshape", "the result of a constexpr_* operation is used in its own shape",
     "ANEForge _compile.py", kOne, "store the weight in the shape in which it is used"},
    // D 24. fp32 weights count as what they become (D 21).
    {"weight_bytes",
     "the weights of a program take at most 2 GiB, fp32 counted as fp16 (1.5 GB compiled, 3.4 GB "
     "did not)",
     "ANEForge llm.py, pull request 45", kOne,
     "split the program, or compress the weights to int8 or int4"},
    // D 32.
    {"conv_bias", "conv has no bias", "mechramc/Orion; ANEForge", kSeveral,
     "add it to the result: add(x = conv, y = bias)"},
    // D 47. fp32 and int32 arithmetic is "accepted and ignored or rejected", and programs written
    // for the device hold an identity of fp32: no ground for a refusal.
    {"bf16", "no value is bf16; fp32 and int32 are let pass, though neither is computed with",
     "sbryngelson/ane-guide ch. 8; apple/coreai-models", kSeveral, "use fp16"},
    // D 47 and the sweep.
    {"cast_int32", "nothing is cast to int32",
     "ANEForge full_mil_vocabulary_sweep.json; sbryngelson/ane-guide", kSeveral,
     "cast outside of the program, or use fp16"},
    // D 48.
    {"conv_3d", "a convolution has one or two spatial axes", "sbryngelson/ane-guide ch. 8", kOne,
     "make one 2-D convolution for each depth of the kernel, and add"},
    // D 48 and the sweep; appendix A has read_state and write_state as native.
    {"state",
     "there is no state: refused by ane-guide ch. 8 and ANEForge's sweep, native in "
     "ane-guide appendix A",
     "sbryngelson/ane-guide; ANEForge", kDisputed,
     "make it an input and an output, and bind one surface to both", false,
     "coreml_update_state read_state write_state"},
    // D 50.
    {"matmul_batch", "a matmul of 5 axes has batch axes of 1", "sbryngelson/ane-guide ch. 4 and 17",
     kOne, "merge the batch axes with reshape"},
    // D 52, 53: 16384 on M1 to M3, batch, channels and those of conv excepted.
    {"dimension", "no axis is longer than 65536",
     "sbryngelson/ane-guide ch. 4, 17 and appendix A; ANEForge _targets.py; maderix/ANE pull "
     "request 26",
     kSeveral, "split the axis: a chip before M4 takes 16384 at most, channels and batch excepted"},
    // D 54: 13 on M1, 15 or 16 later; other figures for compressed weights are not known.
    {"kernel_width", "the kernel of a conv with float weights is at most 16 wide",
     "sbryngelson/ane-guide; ANEForge", kSeveral,
     "make two narrower convolutions of shifted inputs, and add; M1 takes 13 at most"},
    // D 55.
    {"argmax_axis", "reduce_argmax and reduce_argmin look at 2048 values at most",
     "sbryngelson/ane-guide ch. 17", kOne, "reduce pieces of the axis, then their maxima"},
    // D 56.
    {"groups", "groups divides the channels that go into a conv and those that come out",
     "sbryngelson/ane-guide", kOne, "pad the channels"},
    // The sweep's list "no engine lowering", without what ane-guide knows to run.
    {"no_lowering", "operations that the engine has no code for", kSweep, kOne,
     "rewrite it with operations that the engine has, or compute it outside of the program", false,
     "acos asin atanh band_part cosh cumsum gather_along_axis gather_nd gru logical_and logical_or "
     "logical_xor lstm mod non_zero one_hot random_bernoulli random_categorical random_normal "
     "reduce_prod reverse_sequence rnn scatter scatter_along_axis scatter_nd shape sinh "
     "sliding_windows tan"},
    // In the sweep's lists as well; ane-guide appendix A has them as native, on some chips at
    // least (D 46, D 55). Accepted is what both accept.
    {"disputed_operation",
     "operations that ANEForge's sweep saw refused and ane-guide has as native, some from M2 or "
     "M3 on",
     "ANEForge full_mil_vocabulary_sweep.json; sbryngelson/ane-guide appendix A", kDisputed,
     "rewrite it with operations that the engine has, or compute it outside of the program", false,
     "argsort crop_resize gather random_uniform reduce_argmax reduce_argmin slice_update"},
    // The sweep's list "refused at compile", without control flow, lists and state. `identity` is
    // there too, but programs for the device use it (luengnat/rustane models/layer0) and ane-guide
    // has it as native, so it passes.
    {"refused_operation", "operations that the compiler refuses", kSweep, kOne,
     "write reshape with constant sizes; classify outside of the program", false,
     "classify reshape_like"},
};

}  // namespace

std::span<const LimitRule> limit_rules() { return kRules; }

}  // namespace milane
