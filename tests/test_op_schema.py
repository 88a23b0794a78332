"""Every operation's signature and type rule: what verify accepts, what it refuses, and where."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from conftest import NO_CORPUS, corpus_folder
from milane import mil
from milane.errors import MILVerifyError

HOSTS = {"function", "elementwise", "view", "plan", "none"}
# In coremltools' registry, never in a saved program.
INTERNAL = {"_const_symbolic", "conv_quantized"}
# In compiled models, not in that registry.
SAVED_ONLY = {
    "write_state",
    "coreml_update_state",
    "tensor_buffer_to_tensor",
    "tensor_to_tensor_buffer",
}
# Python callables there, nested blocks in text.
NOT_ARGUMENTS = {"_true_fn", "_false_fn", "_cond", "_body", "_existing_blocks"}
# Two programs of the corpus do not parse: `identity(x)` and `axes=[0,2,3]`.
MALFORMED = {
    "luengnat__rustane__models.layer0.layer_0_fwd",
    "luengnat__rustane__models.layer0.layer_0_bwd",
}


def program(inputs: str, *statements: str, outputs: str = "y") -> str:
    body = "".join(f"        {s}\n" for s in statements)
    return (
        f"program(1.3)\n{{\n    func main<ios18>({inputs}) {{\n{body}    }} -> ({outputs});\n}}\n"
    )


def refused(text: str) -> MILVerifyError:
    with pytest.raises(MILVerifyError) as caught:
        mil.parse(text).verify()
    return caught.value


class TestOps:
    def test_every_operation_has_one_row(self) -> None:
        names = [op.name for op in mil.ops()]
        assert len(names) == len(set(names)) == 170

    @pytest.mark.parametrize("op", mil.ops(), ids=lambda op: op.name)
    def test_a_row_is_well_formed(self, op: mil.OpSchema) -> None:
        assert op.host in HOSTS
        assert re.fullmatch(r"ios1[5-8]", op.since)
        names = [arg.name for arg in op.args]
        assert len(names) == len(set(names))
        for arg in op.args:
            assert arg.dtypes
            assert arg.default is None or arg.optional
            assert arg.since is None or arg.since > op.since

    def test_a_default_has_the_type_its_argument_takes(self) -> None:
        softmax = next(op for op in mil.ops() if op.name == "softmax")
        axis = next(arg for arg in softmax.args if arg.name == "axis")
        assert (axis.default, axis.constant, axis.optional, axis.dtypes) == (
            -1,
            True,
            True,
            ["int32"],
        )

    def test_the_rows_agree_with_the_registry_of_coremltools(self) -> None:
        folder = corpus_folder()
        if folder is None:
            pytest.skip(NO_CORPUS)
        registry = json.loads((folder / "ops_by_opset.json").read_text())["ops"]
        ours = {op.name: {arg.name: arg for arg in op.args} for op in mil.ops()}
        assert set(ours) - set(registry) == SAVED_ONLY
        assert set(registry) - set(ours) == INTERNAL
        for name in set(registry) & set(ours):
            versions = list(registry[name].values())
            theirs = set().union(*(v["inputs"] for v in versions)) - NOT_ARGUMENTS
            assert set(ours[name]) == theirs, name
            for arg, spec in versions[-1]["inputs"].items():
                if arg in NOT_ARGUMENTS:
                    continue
                if spec["optional"]:
                    assert ours[name][arg].optional, (name, arg)
                for dtype in spec.get("type_domain") or []:
                    if dtype in {"fp16", "fp32", "int32", "bool", "string", "uint32"}:
                        assert dtype in ours[name][arg].dtypes, (name, arg)


X = "tensor<fp16, [1, 4, 8, 6]> x"
# id, inputs, statement, with the result's true type in it.
ACCEPTED = [
    ("relu", X, "tensor<fp16, [1, 4, 8, 6]> y = relu(x = x);"),
    (
        "add broadcasts",
        X + ", tensor<fp16, [8, 1]> w",
        "tensor<fp16, [1, 4, 8, 6]> y = add(x = x, y = w);",
    ),
    ("less gives bool", X, "tensor<bool, [1, 4, 8, 6]> y = less(x = x, y = fp16(0));"),
    ("cast", X, 'tensor<int32, [1, 4, 8, 6]> y = cast(dtype = string("int32"), x = x);'),
    (
        "reduce keeps",
        X,
        "tensor<fp16, [1, 1, 8, 1]> y = reduce_sum("
        "axes = tensor<int32, [2]>([1, -1]), keep_dims = bool(true), x = x);",
    ),
    (
        "reduce drops",
        X,
        "tensor<fp16, [4, 8]> y = reduce_sum("
        "axes = tensor<int32, [2]>([0, 3]), keep_dims = bool(false), x = x);",
    ),
    ("argmax", X, "tensor<int32, [1, 4, 8]> y = reduce_argmax(axis = int32(-1), x = x);"),
    (
        "argmax as uint16",
        X,
        "tensor<uint16, [1, 8, 6]> y = reduce_argmax("
        'axis = int32(1), output_dtype = string("uint16"), x = x);',
    ),
    (
        "matmul",
        X + ", tensor<fp16, [4, 5, 6]> w",
        "tensor<fp16, [1, 4, 8, 5]> y = matmul(transpose_y = bool(true), x = x, y = w);",
    ),
    (
        "matmul of a vector",
        X + ", tensor<fp16, [8]> w",
        "tensor<fp16, [1, 4, 6]> y = matmul(x = w, y = x);",
    ),
    (
        "einsum",
        X + ", tensor<fp16, [1, 6, 8, 5]> w",
        "tensor<fp16, [1, 4, 8, 5]> y = einsum("
        'equation = string("nchw,nwhu->nchu"), values = (x, w));',
    ),
    (
        "conv",
        X + ", tensor<fp16, [6, 2, 3, 3]> w",
        "tensor<fp16, [1, 6, 4, 5]> y = conv("
        'groups = int32(2), pad = tensor<int32, [4]>([1, 1, 0, 1]), pad_type = string("custom"), '
        "strides = tensor<int32, [2]>([2, 1]), weight = w, x = x);",
    ),
    (
        "conv same",
        X + ", tensor<fp16, [6, 4, 3, 3]> w",
        "tensor<fp16, [1, 6, 3, 3]> y = conv("
        'pad_type = string("same"), strides = tensor<int32, [2]>([3, 2]), weight = w, x = x);',
    ),
    (
        "conv dilated",
        X + ", tensor<fp16, [6, 4, 3, 1]> w",
        "tensor<fp16, [1, 6, 2, 6]> y = conv("
        "dilations = tensor<int32, [2]>([3, 1]), weight = w, x = x);",
    ),
    (
        "conv_transpose",
        X + ", tensor<fp16, [4, 3, 3, 2]> w",
        "tensor<fp16, [1, 6, 17, 12]> y = conv_transpose("
        "groups = int32(2), strides = tensor<int32, [2]>([2, 2]), weight = w, x = x);",
    ),
    (
        "max_pool with ceil_mode",
        X,
        "tensor<fp16, [1, 4, 4, 3]> y = max_pool("
        "ceil_mode = bool(true), kernel_sizes = tensor<int32, [2]>([3, 3]), "
        'pad_type = string("valid"), strides = tensor<int32, [2]>([2, 2]), x = x);',
    ),
    (
        "max_pool",
        X,
        "tensor<fp16, [1, 4, 3, 2]> y = max_pool("
        "kernel_sizes = tensor<int32, [2]>([3, 3]), "
        'pad_type = string("valid"), strides = tensor<int32, [2]>([2, 2]), x = x);',
    ),
    (
        "reshape",
        X,
        "tensor<fp16, [4, 2, 24]> y = reshape(shape = tensor<int32, [3]>([0, 2, -1]), x = x);",
    ),
    (
        "expand_dims",
        X,
        "tensor<fp16, [1, 4, 8, 6, 1]> y = expand_dims(axes = tensor<int32, [1]>([-1]), x = x);",
    ),
    ("squeeze", X, "tensor<fp16, [4, 8, 6]> y = squeeze(axes = tensor<int32, [1]>([0]), x = x);"),
    ("flatten2d", X, "tensor<fp16, [4, 48]> y = flatten2d(axis = int32(2), x = x);"),
    (
        "transpose",
        X,
        "tensor<fp16, [6, 1, 8, 4]> y = transpose("
        "perm = tensor<int32, [4]>([-1, 0, 2, 1]), x = x);",
    ),
    (
        "tile",
        X,
        "tensor<fp16, [1, 8, 8, 18]> y = tile(reps = tensor<int32, [4]>([1, 2, 1, 3]), x = x);",
    ),
    ("concat", X, "tensor<fp16, [1, 8, 8, 6]> y = concat(axis = int32(1), values = (x, x));"),
    ("stack", X, "tensor<fp16, [1, 4, 8, 6, 2]> y = stack(axis = int32(-1), values = (x, x));"),
    (
        "pad",
        X,
        "tensor<fp16, [1, 4, 11, 7]> y = pad(pad = tensor<int32, [4]>([1, 2, 0, 1]), x = x);",
    ),
    (
        "slice_by_index",
        X,
        "tensor<fp16, [1, 4, 3]> y = slice_by_index("
        "begin = tensor<int32, [4]>([0, 0, -7, 2]), end = tensor<int32, [4]>([1, 0, 7, 3]), "
        "end_mask = tensor<bool, [4]>([false, true, false, false]), "
        "squeeze_mask = tensor<bool, [4]>([false, false, false, true]), "
        "stride = tensor<int32, [4]>([1, 1, 2, 1]), x = x);",
    ),
    (
        "slice_by_index backwards",
        X,
        "tensor<fp16, [1, 4, 8, 3]> y = slice_by_index("
        "begin = tensor<int32, [4]>([0, 0, 0, -1]), end = tensor<int32, [4]>([1, 4, 8, 0]), "
        "stride = tensor<int32, [4]>([1, 1, 1, -2]), x = x);",
    ),
    (
        "slice_by_size",
        X,
        "tensor<fp16, [1, 3, 8, 2]> y = slice_by_size("
        "begin = tensor<int32, [4]>([0, 1, 0, 3]), size = tensor<int32, "
        "[4]>([1, -1, 8, 2]), x = x);",
    ),
    (
        "gather",
        X + ", tensor<int32, [3, 2]> i",
        "tensor<fp16, [1, 4, 3, 2, 6]> y = gather(axis = int32(2), indices = i, x = x);",
    ),
    (
        "gather with batch_dims",
        "tensor<fp16, [2, 4, 5]> x, tensor<int32, [2, 3]> i",
        "tensor<fp16, [2, 4, 3]> y = gather(axis = int32(2), batch_dims = int32(1), "
        "indices = i, x = x);",
    ),
    (
        "gather_nd",
        "tensor<fp16, [2, 4, 5]> x, tensor<int32, [3, 2]> i",
        "tensor<fp16, [3, 5]> y = gather_nd(indices = i, x = x);",
    ),
    (
        "one_hot",
        "tensor<int32, [2, 3]> x",
        "tensor<int32, [2, 9, 3]> y = one_hot(axis = int32(1), indices = x, "
        "one_hot_vector_size = int32(9));",
    ),
    (
        "sliding_windows",
        X,
        "tensor<fp16, [1, 4, 3, 4, 6]> y = sliding_windows("
        "axis = int32(2), size = int32(4), stride = int32(2), x = x);",
    ),
    (
        "space_to_depth",
        X,
        "tensor<fp16, [1, 16, 4, 3]> y = space_to_depth(block_size = int32(2), x = x);",
    ),
    (
        "pixel_shuffle",
        X,
        "tensor<fp16, [1, 1, 16, 12]> y = pixel_shuffle(upscale_factor = int32(2), x = x);",
    ),
    (
        "upsample",
        X,
        "tensor<fp16, [1, 4, 12, 18]> y = upsample_nearest_neighbor("
        "scale_factor_height = fp32(1.5), scale_factor_width = int32(3), x = x);",
    ),
    (
        "resize",
        X,
        "tensor<fp16, [1, 4, 8, 9]> y = resize("
        "resized_dims = uint32(2), shape = tensor<int32, [3]>([1, 0, 9]), x = x);",
    ),
    (
        "range_1d",
        X,
        "tensor<int32, [4]> y = range_1d(end = int32(10), start = int32(0), step = int32(3));",
    ),
    (
        "fill",
        X,
        "tensor<fp16, [2, 3]> y = fill(shape = tensor<int32, [2]>([2, 3]), value = fp16(1));",
    ),
    ("shape", X, "tensor<int32, [4]> y = shape(x = x);"),
    (
        "attention",
        "tensor<fp16, [1, 2, 5, 8]> q, tensor<fp16, [1, 2, 7, 8]> k, tensor<fp16, [1, 2, 7, 3]> v",
        "tensor<fp16, [1, 2, 5, 3]> y = scaled_dot_product_attention(key = k, "
        "query = q, value = v);",
    ),
    (
        "read_state",
        "state<tensor<fp16, [2, 3]>> s",
        "tensor<fp16, [2, 3]> y = read_state(input = s);",
    ),
    (
        "constexpr with arguments",
        X,
        "tensor<fp16, [2, 4]> y = constexpr_blockwise_shift_scale("
        "data = tensor<int8, [2, 4]>([[1, 2, 3, 4], [5, 6, 7, 8]]), "
        "scale = tensor<fp16, [2, 1]>([[1], [2]]));",
    ),
    (
        "constexpr with attributes",
        X,
        "tensor<fp16, [2, 2]> y = constexpr_affine_dequantize()["
        'axis = int32(0), name = string("y"), quantized_data = tensor<int8, '
        "[2, 2]>([[1, 2], [3, 4]]), "
        "scale = fp16(0.5), zero_point = int8(0)];",
    ),
]


class TestTypes:
    @pytest.mark.parametrize(
        ("inputs", "statement"), [c[1:] for c in ACCEPTED], ids=[c[0] for c in ACCEPTED]
    )
    def test_the_true_type_is_accepted_and_every_other_size_refused(
        self, inputs: str, statement: str
    ) -> None:
        mil.parse(program(inputs, statement)).verify()
        declared = statement[: statement.index("]") + 1]
        sizes = re.findall(r"\d+", declared[declared.index("[") :])
        for i in range(len(sizes)):
            wrong = [*sizes[:i], str(int(sizes[i]) + 1), *sizes[i + 1 :]]
            changed = declared[: declared.index("[")] + "[" + ", ".join(wrong) + "]"
            error = refused(program(inputs, changed + statement[len(declared) :]))
            assert (error.line, error.column) == (4, 8 + len(changed + "> ") + 1)

    def test_split_gives_one_type_per_part(self) -> None:
        parts = "tensor<fp16, [1, 1, 8, 6]> y, tensor<fp16, [1, 3, 8, 6]> z"
        sizes = "split_sizes = tensor<int32, [2]>([1, 3])"
        mil.parse(program(X, f"{parts} = split(axis = int32(1), {sizes}, x = x);")).verify()

    @pytest.mark.parametrize(("sequence", "length"), [("true", 5), ("false", 1)])
    def test_lstm_gives_the_sequence_and_both_states(self, sequence: str, length: int) -> None:
        inputs = "tensor<fp16, [5, 2, 3]> x, tensor<fp16, [2, 4]> h, tensor<fp16, [2, 4]> c"
        blob = 'BLOBFILE(path = string("@model_path/w.bin"), offset = uint64(64))'
        mil.parse(
            program(
                inputs,
                f"tensor<fp16, [{length}, 2, 4]> y, tensor<fp16, [2, 4]> hn, "
                "tensor<fp16, [2, 4]> cn = lstm(initial_c = c, initial_h = h, "
                f"output_sequence = bool({sequence}), "
                f"weight_hh = tensor<fp16, [16, 4]>({blob}), "
                f"weight_ih = tensor<fp16, [16, 3]>({blob}), x = x);",
            )
        ).verify()

    @pytest.mark.parametrize("declared", ["[?, 4]", "[3, 4]", "[?, ?]"])
    def test_an_unknown_size_may_be_declared_more_or_less_exactly(self, declared: str) -> None:
        mil.parse(
            program("tensor<fp16, [?, 4]> x", f"tensor<fp16, {declared}> y = relu(x = x);")
        ).verify()

    def test_what_inference_knows_fills_a_size_the_text_leaves_open(self) -> None:
        error = refused(
            program(
                "tensor<fp16, [1, 4]> x",
                "tensor<fp16, [?, ?]> z = relu(x = x);",
                "tensor<fp16, [1, 5]> y = relu(x = z);",
            )
        )
        assert error.line == 5
        assert "[1, 4]" in str(error)

    def test_nested_blocks_carry_the_types_of_their_loop(self) -> None:
        folder = corpus_folder()
        if folder is None:
            pytest.skip(NO_CORPUS)
        path = folder / "printed/adamsro__dtln-aec-coreml__DTLN_AEC_128_Part1/model.mil"
        mil.parse(path.read_text()).verify()


FP32 = "tensor<fp32, [1, 4, 8, 6]> w"
STATE = "state<tensor<fp16, [2, 3]>> s"
# id, inputs, statements, the text the error points at (with its line), what it says.
REFUSED = [
    (
        "an unknown operation",
        X,
        ["tensor<fp16, [1, 4, 8, 6]> y = sofmax(x = x);"],
        "sofmax(",
        "did you mean `softmax`",
    ),
    (
        "an unknown argument",
        X,
        ["tensor<fp16, [1, 4, 8, 6]> y = softmax(axes = int32(1), x = x);"],
        "axes",
        "did you mean `axis`",
    ),
    (
        "a missing argument",
        X,
        ["tensor<fp16, [1, 4, 8, 6]> y = add(x = x);"],
        "add(",
        "expected an argument `y`, got none",
    ),
    (
        "an undefined name",
        X,
        ["tensor<fp16, [1, 4, 8, 6]> y = relu(x = xx);"],
        "xx)",
        "did you mean `x`",
    ),
    (
        "another name twice",
        X,
        [
            "tensor<fp16, [1, 4, 8, 6]> y = relu(x = x);",
            "tensor<fp16, [1, 4, 8, 6]>  y = relu(x = x);",
        ],
        "y = relu",
        "a second time",
    ),
    (
        "an input's name again",
        X,
        ["tensor<fp16, [1, 4, 8, 6]> x = relu(x = x);"],
        "x = relu",
        "a second time",
    ),
    (
        "an axis out of range",
        X,
        ["tensor<fp16, [1, 4, 8, 6]> y = softmax(axis = int32(4), x = x);"],
        "int32(4)",
        "softmax: axis must be in [-4, 4), got 4",
    ),
    (
        "an axis known only at run time",
        X + ", int32 a",
        ["tensor<fp16, [1, 4, 8, 6]> y = softmax(axis = a, x = x);"],
        "a, x",
        "constant axis",
    ),
    (
        "mixed element types",
        X + ", " + FP32,
        ["tensor<fp16, [1, 4, 8, 6]> y = add(x = x, y = w);"],
        "w)",
        "expected y to be fp16 like x, got fp32",
    ),
    (
        "an element type the operation does not take",
        "tensor<int32, [2]> x",
        ["tensor<int32, [2]> y = softmax(x = x);"],
        "x)",
        "expected x to be fp16 or fp32, got int32",
    ),
    (
        "shapes that do not broadcast",
        X + ", tensor<fp16, [3]> w",
        ["tensor<fp16, [1, 4, 8, 6]> y = add(x = x, y = w);"],
        "w)",
        "broadcast",
    ),
    (
        "a wrong result type",
        X,
        ["tensor<fp32, [1, 4, 8, 6]> y = relu(x = x);"],
        "y = relu",
        "expected `y` to be tensor<fp16, [1, 4, 8, 6]>",
    ),
    ("a wrong rank", X, ["tensor<fp16, [4, 8, 6]> y = relu(x = x);"], "y = relu", "expected `y`"),
    (
        "too many results",
        X,
        ["tensor<fp16, [1, 4, 8, 6]> y, fp16 z = relu(x = x);"],
        "relu(",
        "expected 1 result, got 2",
    ),
    (
        "inner sizes that differ",
        X + ", tensor<fp16, [7, 2]> w",
        ["tensor<fp16, [1, 4, 8, 2]> y = matmul(x = x, y = w);"],
        "w)",
        "got 6 and 7",
    ),
    (
        "channels that groups do not divide",
        X + ", tensor<fp16, [6, 1, 1, 1]> w",
        ["tensor<fp16, [1, 6, 8, 6]> y = conv(groups = int32(3), weight = w, x = x);"],
        "x);",
        "divisible by groups",
    ),
    (
        "a kernel larger than the image",
        X + ", tensor<fp16, [6, 4, 9, 1]> w",
        ["tensor<fp16, [1, 6, 1, 6]> y = conv(weight = w, x = x);"],
        "x);",
        "kernel size 9",
    ),
    (
        "a word that is no pad_type",
        X + ", tensor<fp16, [6, 4, 1, 1]> w",
        ['tensor<fp16, [1, 6, 8, 6]> y = conv(pad_type = string("full"), weight = w, x = x);'],
        'string("full")',
        "one of valid, same, same_lower, custom",
    ),
    (
        "a reshape to another count",
        X,
        ["tensor<fp16, [5, 5]> y = reshape(shape = tensor<int32, [2]>([5, 5]), x = x);"],
        "tensor<int32, [2]>",
        "192 elements",
    ),
    (
        "an empty slice",
        X,
        [
            "tensor<fp16, [1, 4, 8, 6]> y = slice_by_index("
            "begin = tensor<int32, [4]>([0, 0, 0, 6]), end = tensor<int32, "
            "[4]>([1, 4, 8, 6]), x = x);"
        ],
        "tensor<int32, [4]>([1,",
        "empty",
    ),
    (
        "a state used as a tensor",
        STATE,
        ["tensor<fp16, [2, 3]> y = relu(x = s);"],
        "s)",
        "only read_state and write_state",
    ),
    (
        "a state copied",
        STATE,
        ["tensor<fp16, [2, 3]> y = identity(x = s);"],
        "s)",
        "expected x to be a tensor",
    ),
    (
        "another element type written to a state",
        STATE + ", tensor<fp32, [2, 3]> y",
        ["write_state(data = y, input = s);"],
        "y, input",
        "expected data to be fp16 like input",
    ),
    (
        "another shape written to a state",
        STATE + ", tensor<fp16, [2, 4]> y",
        ["write_state(data = y, input = s);"],
        "y, input",
        "of shape [2, 3], got [2, 4]",
    ),
    (
        "a constant without a value",
        X,
        ['tensor<fp16, [2]> y = const()[name = string("y")];'],
        "const(",
        "`val`",
    ),
    (
        "a constant of another type",
        X,
        ["tensor<fp16, [3]> y = const()[val = tensor<fp16, [2]>([1, 2])];"],
        "y = const",
        "[2]",
    ),
]


class TestRefusals:
    @pytest.mark.parametrize(
        ("inputs", "statements", "at", "says"),
        [c[1:] for c in REFUSED],
        ids=[c[0] for c in REFUSED],
    )
    def test_points_at_the_fault_and_says_what_was_expected(
        self, inputs: str, statements: list[str], at: str, says: str
    ) -> None:
        error = refused(program(inputs, *statements))
        assert says in str(error)
        column = 9 + statements[-1].index(at)
        assert (error.line, error.column) == (3 + len(statements), column)

    def test_an_output_that_does_not_exist(self) -> None:
        error = refused(program(X, outputs="z"))
        assert (error.line, error.column) == (4, 11)

    def test_a_state_as_output(self) -> None:
        assert "state" in str(refused(program(STATE, outputs="s")))

    def test_an_input_named_twice(self) -> None:
        assert refused(program(X + ", fp16 x", outputs="x")).line == 3

    def test_two_functions_of_one_name(self) -> None:
        function = "func main<ios18>(fp16 x) { } -> (x);"
        error = refused(f"program(1.3)\n{{ {function}\n{function} }}")
        assert error.line == 3

    def test_a_program_without_functions(self) -> None:
        assert "at least one function" in str(refused("program(1.3) { }"))

    def test_speaks_as_the_device_compiler_does(self) -> None:
        error = refused(program(X, outputs="z"))
        assert (error.op, error.cls, error.code) == ("verify", "InvalidMILProgram", 1)


def corpus_programs() -> list[Path]:
    folder = corpus_folder()
    if folder is None:
        return []
    return sorted(p for p in folder.rglob("model.mil") if p.parent.name not in MALFORMED)


@pytest.mark.parametrize("path", corpus_programs(), ids=lambda p: p.parent.name)
def test_programs_of_others_verify(path: Path) -> None:
    mil.parse(path.read_text(), path.name).verify()
