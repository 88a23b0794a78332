"""Programs for the linter: for each rule one in which it does not hold, and one like it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from test_ane_limits import INFO, MARK, constant, weight

F = "tensor<fp16, [1, 4, 1, 32]>"
X = f"{F} x0"
RELU = f"{F} x1 = relu(x = x0);"
YES = constant("bool", "yes", "true")
LAST = constant("int32", "last", "-1")


def program(
    inputs: str,
    *statements: str,
    outputs: str = "x1",
    version: str = "1.3",
    opset: str = "ios18",
) -> str:
    """A program of one function."""
    body = "".join(f"        {s}\n" for s in statements)
    return (
        f"program({version})\n{INFO}\n{{\n"
        f"    func main<{opset}>({inputs}) {{\n{body}    }} -> ({outputs});\n}}\n"
    )


def old(text: str) -> str:
    """The same in the older dialect."""
    text = text.replace("dict<string, string>", "dict<tensor<string, []>, tensor<string, []>>")
    return text.replace("program(1.3)", "program(1.0)").replace("ios18", "ios16")


@dataclass(frozen=True)
class Case:
    """One rule, a program that has what it looks for at its mark, and one that does not."""

    rule: str
    bad: str
    good: str
    chip: str | None = None
    count: int = 1

    def __str__(self) -> str:
        return self.rule


def unary(operation: str, mark: str = MARK, shape: str = "1, 4, 1, 32", rest: str = "") -> str:
    """A function of one operation."""
    type_ = f"tensor<fp16, [{shape}]>"
    return program(f"{type_} x0", f"{type_} x1 = {mark}{operation}(x = x0{rest});")


def vector(width: int, dtype: str = "fp16", mark: str = "") -> str:
    """A relu over [1, 4, 1, width]."""
    type_ = f"tensor<{dtype}, [1, 4, 1, {width}]>"
    return program(f"{type_} {mark}x0", f"{type_} x1 = relu(x = x0);")


def conv(
    weight_shape: str,
    x_shape: str,
    y_shape: str,
    *,
    mark: str = "",
    groups: int = 1,
    strides: str = "",
    runtime: bool = False,
) -> str:
    """A conv, its weight from a file or from a run."""
    declared = f"tensor<fp16, [{weight_shape}]>"
    ports = f"tensor<fp16, [{x_shape}]> x0"
    arguments = "groups = g, weight = w, x = x0"
    made = [constant("int32", "g", str(groups))]
    if strides:
        made.append(constant("tensor<int32, [2]>", "s", f"[{strides}]"))
        arguments += ", strides = s"
    if runtime:
        ports = f"{declared} w, {ports}"
    else:
        made.append(weight(declared))
    return program(ports, *made, f"tensor<fp16, [{y_shape}]> x1 = {mark}conv({arguments});")


def sliced(begin: str, mark: str = "", size: str = "1, 4, 1, 32") -> str:
    """A slice of [1, 4, 1, 64] at a place."""
    return program(
        "tensor<fp16, [1, 4, 1, 64]> x0",
        constant("tensor<int32, [4]>", "b", f"[{begin}]"),
        constant("tensor<int32, [4]>", "n", f"[{size}]"),
        f"tensor<fp16, [{size}]> x1 = {mark}slice_by_size(begin = b, size = n, x = x0);",
    )


def joined(*begins: str, mark: str = "") -> str:
    """Two slices side by side."""
    steps: list[str] = []
    for i, begin in enumerate(begins):
        steps += [
            constant("tensor<int32, [4]>", f"b{i}", f"[{begin}]"),
            f"{F} p{i} = slice_by_size(begin = b{i}, size = n, x = x0);",
        ]
    return program(
        "tensor<fp16, [1, 4, 1, 128]> x0",
        constant("tensor<int32, [4]>", "n", "[1, 4, 1, 32]"),
        constant("int32", "a", "1"),
        *steps,
        f"tensor<fp16, [1, 8, 1, 32]> x1 = {mark}concat(axis = a, values = (p0, p1));",
    )


def product(constant_first: str, constant_second: str = "", *, mark: str = "") -> str:
    """floor and a product behind it."""
    return program(
        X,
        f"{F} r = {constant_first}(x = x0);",
        constant("fp16", "two", constant_second or "2"),
        f"{F} x1 = {mark}mul(x = r, y = two);",
    )


def reduced(*statements: str, kind: str = "reduce_sum_square") -> str:
    """A reduction over the channels, then statements that use it as `r`."""
    return program(
        X,
        constant("tensor<int32, [1]>", "a", "[1]"),
        YES,
        f"tensor<fp16, [1, 1, 1, 32]> r = {kind}(axes = a, keep_dims = yes, x = x0);",
        *statements,
    )


def layer_norm(size: int, *, gamma: bool, beta: bool, mark: str = "") -> str:
    """A norm of `size` values with learned or absent gamma and beta."""
    vector_ = f"tensor<fp16, [{size}]>"
    given = [name for name, there in (("gamma", gamma), ("beta", beta)) if there]
    weights = [weight(vector_, name, 64 + 64 * i) for i, name in enumerate(given)]
    arguments = "".join(f"{name} = {name}, " for name in given)
    type_ = f"tensor<fp16, [1, {size}]>"
    return program(
        f"{type_} x0",
        constant("tensor<int32, [1]>", "axes", "[1]"),
        *weights,
        f"{type_} x1 = {mark}layer_norm(axes = axes, {arguments}x = x0);",
    )


def topk(k: int, mark: str = "") -> str:
    """The largest of 32 values; the indices stay inside."""
    return program(
        X,
        constant("int32", "k", str(k)),
        f"tensor<fp16, [1, 4, 1, {k}]> x1, tensor<int32, [1, 4, 1, {k}]> i = "
        f"{mark}topk(k = k, x = x0);",
    )


def pool(kernel: int, stride: int, mark: str = "", kind: str = "max_pool") -> str:
    """A pool along the width."""
    width = (512 - kernel) // stride + 1
    rest = "exclude_padding_from_average = yes, " if kind == "avg_pool" else ""
    return program(
        "tensor<fp16, [1, 4, 1, 512]> x0",
        YES,
        constant("tensor<int32, [2]>", "k", f"[1, {kernel}]"),
        constant("tensor<int32, [2]>", "s", f"[1, {stride}]"),
        'string v = const()[val = string("valid")];',
        f"tensor<fp16, [1, 4, 1, {width}]> x1 = {mark}{kind}({rest}kernel_sizes = k, pad_type = v, "
        "strides = s, x = x0);",
    )


def stack(count: int, mark: str = "", channels: int = 1) -> str:
    """`count` convs one after the other; the mark stands at the last."""
    type_ = f"tensor<fp16, [1, {channels}, 1, 32]>"
    steps = [weight(f"tensor<fp16, [{channels}, {channels}, 1, 1]>")]
    steps += [
        f"{type_} x{i + 1} = {mark if i == count - 1 else ''}conv(weight = w, x = x{i});"
        for i in range(count)
    ]
    return program(f"{type_} x0", *steps, outputs=f"x{count}")


def attention(mask: str, mark: str = "") -> str:
    """scaled_dot_product_attention with or without a mask."""
    q = "tensor<fp16, [1, 2, 4, 32]>"
    ports = f"{q} a, {q} b, {q} c"
    ports += ", tensor<fp16, [4, 32]> m" if mask else ""
    return program(
        ports.replace("[4, 32]", "[4, 4]"),
        f"{q} x1 = {mark}scaled_dot_product_attention(key = b, query = a, value = c{mask});",
    )


def masked(lowest: str, mark: str = "") -> str:
    """A mask added in front of a softmax."""
    rows = f"[[0, {lowest}], [0, 0]]"
    return program(
        "tensor<fp16, [2, 2]> x0",
        constant("tensor<fp16, [2, 2]>", "m", rows),
        f"tensor<fp16, [2, 2]> s = {mark}add(x = x0, y = m);",
        LAST,
        "tensor<fp16, [2, 2]> x1 = softmax(axis = last, x = s);",
    )


def int8_linear(bytes_: bool, mark: str = "", zero: int = 0) -> str:
    """A linear layer with an int8 or an fp16 weight."""
    data = 'BLOBFILE(path = string("@model_path/w.bin"), offset = uint64(64))'
    declared = "tensor<fp16, [32, 32]>"
    made = weight(declared)
    if bytes_:
        made = (
            f"{declared} w = {mark if zero else ''}constexpr_affine_dequantize()[axis = int32(0), "
            f"quantized_data = tensor<int8, [32, 32]>({data}), scale = fp16(0.5), "
            f"zero_point = int8({zero})];"
        )
    mark = "" if zero else mark
    return program(
        "tensor<fp16, [1, 32]> x0",
        made,
        f"tensor<fp16, [1, 32]> x1 = {mark}linear(weight = w, x = x0);",
    )


def compressed(kind: str, mark: str = "") -> str:
    """A weight of one compression, beside a product."""
    data = 'BLOBFILE(path = string("@model_path/w.bin"), offset = uint64(64))'
    scale = 'BLOBFILE(path = string("@model_path/w.bin"), offset = uint64(1152))'
    made = {
        "blockwise": "constexpr_blockwise_shift_scale()[data = tensor<int8, [32, 32]>"
        f"({data}), scale = tensor<fp16, [32, 1]>({scale})];",
        "affine": "constexpr_affine_dequantize()[axis = int32(0), quantized_data = "
        f"tensor<int8, [32, 32]>({data}), scale = fp16(0.5), zero_point = int8(0)];",
        "none": f"const()[val = tensor<fp16, [32, 32]>({data})];",
    }[kind]
    return program(
        "tensor<fp16, [1, 32]> x0",
        f"tensor<fp16, [32, 32]> w = {mark}{made}",
        "tensor<fp16, [1, 32]> x1 = linear(weight = w, x = x0);",
    )


def matmul(inner: int, mark: str = "") -> str:
    """A product of two inputs, [1, 2, inner] and [1, inner, 2]."""
    return program(
        f"tensor<fp16, [1, 2, {inner}]> a, tensor<fp16, [1, {inner}, 2]> b",
        f"tensor<fp16, [1, 2, 2]> x1 = {mark}matmul(x = a, y = b);",
    )


def turned(channels: int, mark: str = "") -> str:
    """Channels that become the width."""
    return program(
        f"tensor<fp16, [1, {channels}, 1, 32]> x0",
        constant("tensor<int32, [4]>", "p", "[0, 2, 3, 1]"),
        f"tensor<fp16, [1, 1, 32, {channels}]> x1 = {mark}transpose(perm = p, x = x0);",
    )


def branches(count: int, mark: str = "") -> str:
    """`count` values that meet in a concat."""
    steps = [f"{F} p{i} = relu(x = x0);" for i in range(count)]
    names = ", ".join(f"p{i}" for i in range(count))
    return program(
        X,
        constant("int32", "a", "1"),
        *steps,
        f"tensor<fp16, [1, {4 * count}, 1, 32]> x1 = {mark}concat(axis = a, values = ({names}));",
    )


def sized(width: int, mark: str = "") -> str:
    """A relu over [1, 64, 1, width]."""
    type_ = f"tensor<fp16, [1, 64, 1, {width}]>"
    return program(f"{type_} x0", f"{type_} x1 = {mark}relu(x = x0);")


def large(rows: int, mark: str = "") -> str:
    """A function whose weights have rows · 1024 · 1024 elements."""
    return program(X, weight(f"tensor<fp16, [{rows}, 1024, 1024]>"), RELU).replace(
        "func main", f"func {mark}main"
    )


def many_inputs(count: int, mark: str = "") -> str:
    """A function of `count` inputs and one output."""
    ports = ", ".join(f"{F} x{i:03}" for i in range(count))
    return program(ports, f"{F} y = relu(x = x000);", outputs="y").replace(
        "func main", f"func {mark}main"
    )


def _quirk_cases() -> Iterator[Case]:
    clipped = unary("clip", "", rest=", alpha = fp16(0), beta = fp16(1)")
    yield Case("log_zero", unary("log"), unary("exp", ""))
    yield Case("softplus_cutoff", unary("softplus"), unary("relu", ""))
    yield Case("softsign_infinity", unary("softsign"), clipped)
    yield Case(
        "reciprocal_zero",
        program(X, f"{F} x1 = {MARK}real_div(x = x0, y = x0);"),
        program(X, f"{F} x1 = mul(x = x0, y = x0);"),
    )
    yield Case("mac_ceiling", matmul(32, MARK), unary("relu", ""))
    yield Case("mac_denormal", matmul(32, MARK), unary("relu", ""), "m1")
    yield Case("activation_tables", unary("sigmoid"), unary("relu", ""), "m1")


def _named(name: str, mark: str = "") -> str:
    return program(f"{F} {mark}{name}", f"{F} x1 = relu(x = {name});")


_WIDE = "tensor<fp16, [1, 4, 1, 64]>"
_EPS = constant("fp16", "e", "0.001")
_ROW = "tensor<fp16, [1, 1, 1, 32]>"

CASES = [
    # The text, ports and weights.
    Case(
        "verify",
        program(X, f"{F} x1 = relu(x = {MARK}nobody);"),
        program(X, RELU),
    ),
    Case(
        "new_dialect",
        program(X, RELU).replace("func main", f"func {MARK}main"),
        old(program(X, RELU)),
        "m2",
    ),
    Case(
        "program_version",
        program(X, RELU, version="1.5").replace("func main", f"func {MARK}main"),
        program(X, RELU),
    ),
    Case("reserved_names", _named("mean", MARK), _named("mean0"), "m1"),
    Case(
        "port_order",
        program(f"{F} b, {F} a", f"{F} x1 = add(x = a, y = b);").replace(
            "func main", f"func {MARK}main"
        ),
        program(f"{F} B, {F} a", f"{F} x1 = add(x = a, y = B);"),
    ),
    Case("surfaces", many_inputs(128, MARK), many_inputs(127)),
    Case(
        "blob_offset",
        program(
            X, weight("tensor<fp16, [8]>", offset=0).replace("val = t", f"val = {MARK}t"), RELU
        ),
        program(X, weight("tensor<fp16, [8]>", offset=64), RELU),
    ),
    Case("row_alignment", vector(33, mark=MARK), vector(32), count=2),
    Case("short_rows", vector(16, mark=MARK), vector(17), count=2),
    Case("fp32_ports", vector(32, "fp32", MARK), vector(32), count=2),
    Case(
        "unequal_surfaces",
        program(f"{F} a, {_WIDE} b", f"{F} x1 = relu(x = a);").replace(
            "func main", f"func {MARK}main"
        ),
        # 20 and 32 values of fp16 take a row of 64 bytes each
        program(f"{F} a, tensor<fp16, [1, 4, 1, 20]> b", f"{F} x1 = relu(x = a);"),
    ),
    Case("large_weights", large(72, MARK), large(71), "m3"),
    Case("resident_weights", large(513, MARK), large(512), "m1"),
    # Operations.
    Case(
        "concat_inputs",
        program(X, constant("int32", "a", "1"), f"{F} x1 = {MARK}concat(axis = a, values = (x0));"),
        branches(2),
    ),
    Case(
        "gelu_mode",
        unary("gelu"),
        program(X, constant("string", "m", '"EXACT"'), f"{F} x1 = gelu(mode = m, x = x0);"),
    ),
    Case(
        "gelu_approximation",
        program(
            X,
            constant("string", "m", '"TANH_APPROXIMATION"'),
            f"{F} x1 = {MARK}gelu(mode = m, x = x0);",
        ),
        program(X, constant("string", "m", '"EXACT"'), f"{F} x1 = gelu(mode = m, x = x0);"),
    ),
    Case(
        "slice_of_input",
        program(
            X,
            constant("tensor<int32, [4]>", "b", "[0, 0, 0, 0]"),
            constant("tensor<int32, [4]>", "e", "[1, 2, 1, 32]"),
            constant("tensor<int32, [1]>", "a", "[1]"),
            YES,
            weight("tensor<fp16, [4, 2, 1, 1]>"),
            f"tensor<fp16, [1, 2, 1, 32]> p = {MARK}slice_by_index(begin = b, end = e, x = x0);",
            f"{_ROW} r = reduce_sum(axes = a, keep_dims = yes, x = p);",
            "tensor<fp16, [1, 2, 1, 32]> q = mul(x = p, y = r);",
            f"{F} x1 = conv(weight = w, x = q);",
        ),
        program(
            X,
            constant("tensor<int32, [4]>", "b", "[0, 0, 0, 0]"),
            constant("tensor<int32, [4]>", "e", "[1, 2, 1, 32]"),
            weight("tensor<fp16, [4, 2, 1, 1]>"),
            "tensor<fp16, [1, 2, 1, 32]> p = slice_by_index(begin = b, end = e, x = x0);",
            f"{F} x1 = conv(weight = w, x = p);",
        ),
    ),
    Case("masked_attention", attention(", attn_mask = m", MARK), attention("")),
    Case("infinite_mask", masked("-inf", MARK), masked("-40000")),
    Case(
        "non_finite_weight",
        masked("nan").replace("m = const", f"m = {MARK}const"),
        masked("-inf"),
    ),
    Case(
        "tile",
        program(
            X,
            constant("tensor<int32, [4]>", "r", "[1, 2, 1, 1]"),
            f"tensor<fp16, [1, 8, 1, 32]> x1 = {MARK}tile(reps = r, x = x0);",
        ),
        branches(2),
        "m3",
    ),
    Case(
        "runtime_conv_weight",
        conv("4, 4, 1, 1", "1, 4, 1, 32", "1, 4, 1, 32", mark=MARK, runtime=True),
        conv("4, 4, 1, 1", "1, 4, 1, 32", "1, 4, 1, 32"),
        "m3",
    ),
    Case(
        "runtime_conv_batch",
        conv("4, 4, 1, 1", "2, 4, 1, 32", "2, 4, 1, 32", mark=MARK, runtime=True),
        conv("4, 4, 1, 1", "1, 4, 1, 32", "1, 4, 1, 32", runtime=True),
    ),
    Case(
        "runtime_conv_groups",
        conv("4, 1, 1, 1", "1, 4, 1, 32", "1, 4, 1, 32", mark=MARK, groups=4, runtime=True),
        conv("4, 4, 1, 1", "1, 4, 1, 32", "1, 4, 1, 32", runtime=True),
        "m1",
    ),
    Case(
        "batch_broadcast",
        program(
            f"tensor<fp16, [2, 4, 1, 32]> a, {X}",
            RELU,
            f"tensor<fp16, [2, 4, 1, 32]> x2 = {MARK}mul(x = a, y = x1);",
            outputs="x2",
        ),
        program(
            f"tensor<fp16, [2, 4, 1, 32]> a, {X}",
            "tensor<fp16, [2, 4, 1, 32]> x2 = mul(x = a, y = x0);",
            outputs="x2",
        ),
        "m3",
    ),
    Case("needs_m2", topk(5, MARK), unary("relu", ""), "m1"),
    Case("needs_m3", unary("sin"), unary("tanh", ""), "m2"),
    Case(
        "dynamic_slice",
        program(
            f"tensor<int32, [4]> b, {X}",
            constant("tensor<int32, [4]>", "n", "[1, 2, 1, 32]"),
            f"tensor<fp16, [1, 2, 1, 32]> x1 = {MARK}slice_by_size(begin = b, size = n, x = x0);",
        ),
        sliced("0, 0, 0, 0"),
        "m1",
    ),
    Case("topk_k", topk(4, MARK), topk(5)),
    Case(
        "conv_input_channels",
        conv("4, 32000, 1, 1", "1, 32000, 1, 32", "1, 4, 1, 32", mark=MARK),
        conv("32000, 4, 1, 1", "1, 4, 1, 32", "1, 32000, 1, 32"),
    ),
    Case("int8_zero_point", int8_linear(True, MARK, 3), int8_linear(True), "m1"),
    # Arithmetic.
    Case(
        "root_after_reduction",
        reduced(_EPS, f"{_ROW} t = add(x = r, y = e);", f"{_ROW} x1 = {MARK}rsqrt(x = t);"),
        program(X, f"{F} x1 = rsqrt(x = x0);"),
    ),
    Case(
        "square_width",
        program(
            "tensor<fp16, [1, 4, 1, 65]> x0",
            f"tensor<fp16, [1, 4, 1, 65]> q = {MARK}square(x = x0);",
            "tensor<fp16, [1, 4, 1, 65]> x1 = sigmoid(x = q);",
        ),
        program(
            "tensor<fp16, [1, 4, 1, 64]> x0",
            "tensor<fp16, [1, 4, 1, 64]> q = square(x = x0);",
            "tensor<fp16, [1, 4, 1, 64]> x1 = sigmoid(x = q);",
        ),
    ),
    Case("round_range", unary("round"), unary("floor", ""), "m5"),
    Case("scale_after_rounding", product("floor", mark=MARK), product("relu")),
    Case(
        "zero_after_reduction",
        reduced(constant("fp16", "z", "0"), f"{_ROW} x1 = {MARK}mul(x = r, y = z);"),
        reduced(constant("fp16", "z", "2"), f"{_ROW} x1 = mul(x = r, y = z);"),
    ),
    Case(
        "layer_norm_affine",
        layer_norm(1024, gamma=True, beta=False, mark=MARK),
        layer_norm(1024, gamma=True, beta=True),
        "m1",
    ),
    Case(
        "layer_norm_wide",
        layer_norm(10240, gamma=True, beta=True, mark=MARK),
        layer_norm(10240, gamma=True, beta=False),
        "m5",
    ),
    Case(
        "fp32_compute",
        program("tensor<fp32, [1, 32]> x0", f"tensor<fp32, [1, 32]> x1 = {MARK}relu(x = x0);"),
        program(
            "tensor<fp32, [1, 32]> x0",
            constant("string", "h", '"fp16"'),
            constant("string", "s", '"fp32"'),
            "tensor<fp16, [1, 32]> a = cast(dtype = h, x = x0);",
            "tensor<fp16, [1, 32]> b = relu(x = a);",
            "tensor<fp32, [1, 32]> x1 = cast(dtype = s, x = b);",
        ),
    ),
    Case(
        "silu_cast",
        program(
            "tensor<fp32, [1, 32]> x0",
            constant("string", "h", '"fp16"'),
            "tensor<fp16, [1, 32]> a = cast(dtype = h, x = x0);",
            f"tensor<fp16, [1, 32]> x1 = {MARK}silu(x = a);",
        ),
        unary("silu", ""),
    ),
    # Sizes.
    # Channels are excepted, and become the width.
    Case("axis_16384", turned(16385, MARK), turned(16384), "m3"),
    Case(
        "kernel_width_13",
        conv("4, 4, 1, 14", "1, 4, 1, 45", "1, 4, 1, 32", mark=MARK),
        conv("4, 4, 1, 13", "1, 4, 1, 44", "1, 4, 1, 32"),
        "m1",
    ),
    Case(
        "kernel_width_15",
        conv("4, 4, 1, 16", "1, 4, 1, 47", "1, 4, 1, 32", mark=MARK),
        conv("4, 4, 1, 15", "1, 4, 1, 46", "1, 4, 1, 32"),
    ),
    Case(
        "kernel_height",
        conv("4, 4, 30, 1", "1, 4, 30, 32", "1, 4, 1, 32", mark=MARK),
        conv("4, 4, 29, 1", "1, 4, 29, 32", "1, 4, 1, 32"),
    ),
    Case(
        "groups_cores",
        conv("6, 1, 1, 1", "1, 6, 1, 32", "1, 6, 1, 32", mark=MARK, groups=6),
        conv("8, 1, 1, 1", "1, 8, 1, 32", "1, 8, 1, 32", groups=8),
    ),
    Case("pool_window", pool(30, 1, MARK, "avg_pool"), pool(30, 1)),
    Case(
        "conv_strides",
        conv("4, 4, 1, 1", "1, 4, 1, 156", "1, 4, 1, 32", mark=MARK, strides="1, 5"),
        conv("4, 4, 1, 1", "1, 4, 1, 187", "1, 4, 1, 32", strides="1, 6"),
    ),
    Case("pool_strides", pool(3, 3, MARK), pool(3, 2)),
    Case("conv_stack", stack(512, MARK), stack(511), "m3"),
    Case("wide_join", branches(12, MARK), branches(11), "m1"),
    # Operand and result take twice 64 · width · 2 bytes.
    Case("working_set_m1", sized(7813, MARK), sized(7812), "m1"),
    Case("working_set_m5", sized(18438, MARK), sized(18437), "m5"),
    Case("working_set_m4", sized(131073, MARK), sized(65536), "m4"),
    Case("stacked_channels", stack(2, MARK, 768), stack(2, channels=767), "m3"),
    Case("dimension_cliff", matmul(5120, MARK), matmul(5119), "m4"),
    Case(
        "constant_matmul",
        program(
            "tensor<fp16, [1, 32]> x0",
            weight("tensor<fp16, [32, 32]>"),
            f"tensor<fp16, [1, 32]> x1 = {MARK}matmul(x = x0, y = w);",
        ),
        matmul(32),
    ),
    Case("compressed_int8", compressed("affine", MARK), compressed("none"), "m1"),
    Case("compressed_blockwise", compressed("blockwise", MARK), compressed("affine"), "m2"),
    # Numbers.
    *_quirk_cases(),
    Case("width_slice", sliced("0, 0, 0, 1", MARK), sliced("0, 1, 0, 0", size="1, 3, 1, 32"), "m2"),
    Case(
        "concat_of_slices",
        joined("0, 0, 0, 32", "0, 0, 0, 64", mark=MARK),
        joined("0, 0, 0, 0", "0, 0, 0, 64"),
        "m3",
    ),
    Case("int8_saturation", int8_linear(True, MARK), int8_linear(False)),
    Case(
        "sum_rounding",
        program(
            X,
            constant("tensor<int32, [2]>", "s", "[4, 32]"),
            "tensor<fp16, [4, 32]> p = reshape(shape = s, x = x0);",
            f"fp16 x1 = {MARK}reduce_sum(x = p);",
        ),
        program(X, "fp16 x1 = reduce_sum(x = x0);"),
    ),
    # What others contradict.
    Case("no_concat", branches(2, MARK), unary("relu", "")),
    Case(
        "no_reduce_mean",
        reduced(kind=f"{MARK}reduce_mean").replace("(x1)", "(r)"),
        reduced().replace("(x1)", "(r)"),
    ),
    Case(
        "no_movement",
        program(
            X,
            constant("tensor<int32, [2]>", "s", "[4, 32]"),
            f"tensor<fp16, [4, 32]> x1 = {MARK}reshape(shape = s, x = x0);",
        ),
        unary("relu", ""),
        "m1",
    ),
    Case("no_transcendental", unary("exp"), unary("tanh", ""), "m5"),
    Case(
        "softmax_length",
        unary("softmax", shape="1, 4, 1, 33"),
        unary("softmax", "", shape="1, 4, 1, 32"),
    ),
    Case(
        "no_constant_matmul",
        program(
            "tensor<fp16, [1, 32]> x0",
            weight("tensor<fp16, [32, 32]>"),
            f"tensor<fp16, [1, 32]> x1 = {MARK}matmul(x = x0, y = w);",
        ),
        matmul(32),
        "m1",
    ),
]
