"""Rules on sizes: what some chips refuse, and what makes any chip slow."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from milane.lint.rule import Chip, Hit, Rule, hit
from milane.lint.view import BYTES, FunctionView, Node, Shape, elements, known

MAX_SIZE = 16384
CORES = 16
LONG_STACK = 512
WIDE_JOIN = 12
WORKING_SET = 32 << 20
POOLS = ("avg_pool", "max_pool", "l2_pool")
MACS = ("conv", "conv_transpose", "matmul", "linear")


def _capped(node: Node, shape: Shape) -> Iterator[int]:
    """The sizes that the cap of older chips covers: not channels, not batch."""
    if len(shape) <= 2 or node.type == "matmul":
        spatial = shape if len(shape) == 1 else shape[-2:] if node.type == "matmul" else shape[-1:]
    else:
        spatial = shape[2:]
    yield from (size for size in spatial if size is not None)


def _axis_16384(f: FunctionView) -> Iterator[Hit]:
    for node in f.nodes:
        if node.type == "const" or node.type.startswith("constexpr_"):
            continue
        sizes = [s for out in node.outputs for s in _capped(node, f.shape(out.name))]
        if node.type == "matmul":
            sizes += [s for a in ("x", "y") for s in _capped(node, f.shape(node.one(a)))]
        longest = max(sizes, default=0)
        if longest > MAX_SIZE:
            yield hit(f, node, f"expected sizes of at most {MAX_SIZE}, got {longest}")
    for value in f.inputs.values():
        shape = f.shape(value.name)
        rest = shape if len(shape) == 1 else shape[2:] or shape[-1:]
        longest = max((s for s in rest if s is not None), default=0)
        if longest > MAX_SIZE:
            text = f"input `{value.name}`: expected sizes of at most {MAX_SIZE}, got {longest}"
            yield Hit(text, value, value.name, f)


def _kernel(f: FunctionView, node: Node) -> Shape:
    """The spatial sizes of a convolution's kernel that is not compressed."""
    made = f.producer(node.one("weight"))
    if made is not None and made.type.startswith("constexpr_"):
        return ()
    return f.shape(node.one("weight"))[2:]


def _kernel_width(low: int, high: int, f: FunctionView) -> Iterator[Hit]:
    for node in f.of("conv"):
        kernel = _kernel(f, node)
        width = kernel[-1] if kernel else None
        if width is not None and low < width <= high:
            yield hit(f, node, f"expected a kernel of width {low} or less, got {width}")


def _kernel_height(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("conv"):
        kernel = _kernel(f, node)
        height = kernel[0] if len(kernel) == 2 else None
        if height is not None and height > 29:
            yield hit(f, node, f"expected a kernel of height 29 or less, got {height}")


def _groups(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("conv", "conv_transpose"):
        groups = f.integer(node, "groups", 1)
        if groups > 0 and CORES % groups and groups % CORES:
            yield hit(f, node, f"expected groups that fit {CORES} cores, got {groups}")


def _pool_window(f: FunctionView) -> Iterator[Hit]:
    for node in f.of(*POOLS):
        longest = max(f.integers(node, "kernel_sizes"), default=0)
        limit = 29 if node.type == "avg_pool" else 128
        if longest > limit:
            yield hit(f, node, f"expected windows of {limit} or less, got {longest}")


def _only_2_and_3(number: int) -> bool:
    for factor in (2, 3):
        while number > 1 and number % factor == 0:
            number //= factor
    return number == 1


def _conv_strides(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("conv", "conv_transpose"):
        strides = f.integers(node, "strides")
        if not all(_only_2_and_3(s) for s in strides if s > 0):
            yield hit(f, node, f"expected strides of factors 2 and 3, got {strides}")


def _pool_strides(f: FunctionView) -> Iterator[Hit]:
    for node in f.of(*POOLS):
        strides = f.integers(node, "strides")
        if any(s not in (1, 2, 4) for s in strides):
            yield hit(f, node, f"expected strides of 1, 2 or 4, got {strides}")


def _conv_stack(f: FunctionView) -> Iterator[Hit]:
    depth: dict[str, int] = {}
    for node in f.nodes:
        before = max((depth.get(name, 0) for name in node.names()), default=0)
        here = before + (node.type == "conv")
        for out in node.outputs:
            depth[out.name] = here
        if node.type == "conv" and here == LONG_STACK:
            yield hit(f, node, f"expected fewer than {LONG_STACK} one after the other, got more")


def _wide_join(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("concat", "stack"):
        count = len(set(node.inputs.get("values", ())))
        if count >= WIDE_JOIN:
            yield hit(f, node, f"expected fewer than {WIDE_JOIN} branches, got {count}")


def _working_set(limit: int, f: FunctionView) -> Iterator[Hit]:
    for node in f.nodes:
        if node.type == "const" or node.type.startswith("constexpr_"):
            continue
        names = [*node.names(), *(out.name for out in node.outputs)]
        total = sum(_tensor_bytes(f, name) for name in dict.fromkeys(names))
        if total > limit:
            yield hit(f, node, f"its operands and results take {total / 1e6:.1f} MB")


def _tensor_bytes(f: FunctionView, name: str) -> float:
    shape = f.shape(name)
    return elements(shape) * BYTES.get(f.dtype(name), 0) if shape and known(shape) else 0


def _channels(f: FunctionView, name: str) -> int:
    shape = f.shape(name)
    return shape[1] or 0 if len(shape) >= 3 else 0


def _stacked_channels(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("conv"):
        before = f.producer(node.one("x"))
        if before is not None and before.type == "conv":
            least = min(_channels(f, before.name), _channels(f, node.name))
            if least >= 768:
                yield hit(f, node, f"expected stacks of fewer than 768 channels, got {least}")


def _dimension_cliff(f: FunctionView) -> Iterator[Hit]:
    for node in f.of(*MACS):
        shape = f.shape(node.one("x"))
        channels = shape[1:2] if node.type.startswith("conv") else shape[-1:]
        if channels and (channels[0] or 0) >= 5120:
            yield hit(f, node, f"expected fewer than 5120 channels, got {channels[0]}")


def _constant_matmul(f: FunctionView) -> Iterator[Hit]:
    for node in f.of("matmul", "linear"):
        weights = [node.one(a) for a in (("x", "y") if node.type == "matmul" else ("weight",))]
        if any(w is not None and f.is_constant(w) for w in weights):
            yield hit(f, node, "a product with a constant")


def _compressed(f: FunctionView, *types: str) -> Iterator[Hit]:
    for node in f.of(*types):
        yield hit(f, node, "is expanded to fp16 when it is compiled")


_WORKING_SETS: tuple[tuple[str, int, tuple[Chip, ...], str], ...] = (
    ("working_set_m1", 2_000_000, ("m1",), "2 MB"),
    ("working_set_m5", 4_720_000, ("m5",), "4.72 MB"),
    ("working_set_m4", WORKING_SET, ("m4",), "32 MB"),
)

RULES = (
    Rule(
        "axis_16384",
        f"no width, height, matrix size or length of one axis is above {MAX_SIZE}",
        "it does not compile",
        "refused",
        "sbryngelson/ane-guide ch. 4, 17 and appendix A; ANEForge _targets.py",
        "several sources",
        "split the axis, or make it the channels: those and the batch take 65536",
        chips=("m1", "m2", "m3"),
        facts=(52,),
        check=_axis_16384,
    ),
    Rule(
        "kernel_width_13",
        "the kernel of a conv with float weights is at most 13 wide",
        "it does not compile",
        "refused",
        "sbryngelson/ane-guide",
        "several sources",
        "make two narrower convolutions of shifted inputs, and add",
        chips=("m1",),
        facts=(54,),
        check=lambda f: _kernel_width(13, 16, f),
    ),
    Rule(
        "kernel_width_15",
        "the kernel of a conv with float weights is at most 15 wide",
        "it does not compile",
        "advisory",
        "ANEForge",
        "sources disagree",
        "make two narrower convolutions of shifted inputs, and add",
        against="ane-guide has 16 from M2 on",
        facts=(54,),
        check=lambda f: _kernel_width(15, 16, f),
    ),
    Rule(
        "kernel_height",
        "the kernel of a conv is at most 29 high",
        "it does not compile, unless the input is tall enough",
        "advisory",
        "sbryngelson/ane-guide; ANEForge",
        "sources disagree",
        "make two lower convolutions of shifted inputs, and add",
        against="the figure is 29 or 32, and none where the input is tall",
        facts=(54,),
        check=_kernel_height,
    ),
    Rule(
        "groups_cores",
        f"groups divides the {CORES} cores, or is a multiple of them",
        "some cores are idle",
        "slow",
        "sbryngelson/ane-guide",
        "one source",
        "pad to another number of groups",
        facts=(56,),
        check=_groups,
    ),
    Rule(
        "pool_window",
        "windows of avg_pool are at most 29, of other pools 128",
        "not native; some odd windows near powers of two do not compile",
        "advisory",
        "sbryngelson/ane-guide",
        "one source",
        "pool twice, or reduce_mean over the whole axis",
        facts=(57,),
        check=_pool_window,
    ),
    Rule(
        "conv_strides",
        "strides of a conv have no factors but 2 and 3",
        "the conv may leave the engine",
        "advisory",
        "apple/coreai-models; sbryngelson/ane-guide",
        "official",
        "use other strides, or cut the result with slice_by_index",
        facts=(57,),
        check=_conv_strides,
    ),
    Rule(
        "pool_strides",
        "strides of a pool are 1, 2 or 4",
        "the pool may leave the engine",
        "advisory",
        "apple/coreai-models; sbryngelson/ane-guide",
        "official",
        "use other strides, or a conv",
        facts=(57,),
        check=_pool_strides,
    ),
    Rule(
        "conv_stack",
        f"fewer than {LONG_STACK} convs stand one after the other",
        "the compiler service dies; 256 are fine",
        "refused",
        "slavko-at-klincov-it/ANE-Training",
        "one source",
        "split the program",
        chips=("m3",),
        facts=(59,),
        check=_conv_stack,
    ),
    Rule(
        "wide_join",
        f"fewer than {WIDE_JOIN} branches meet in one operation",
        "compiling takes about 9 s",
        "slow",
        "sbryngelson/ane-guide ch. 19",
        "one source",
        "join them in steps",
        chips=("m1",),
        facts=(60,),
        check=_wide_join,
    ),
    *(
        Rule(
            id_,
            f"the operands and results of an operation take at most {size}",
            "memory outside of the chip is used, up to 30 % slower",
            "slow",
            "mechramc/Orion; maderix/ANE" if id_.endswith("m4") else "sbryngelson/ane-guide ch. 4",
            "sources disagree",
            "work on parts of the width",
            chips=chips,
            against="ANE-Training saw no step in 204 shapes up to 44 MB on M3 Pro; the figures of "
            "ane-guide (2 MB M1, 4.72 MB M5) and maderix/ANE (32 MB M4) differ",
            facts=(61,),
            once=True,
            check=partial(_working_set, limit),
        )
        for id_, limit, chips, size in _WORKING_SETS
    ),
    Rule(
        "stacked_channels",
        "convs one after the other have fewer than 768 channels",
        "2 to 3 times slower than 384 to 640 channels",
        "slow",
        "slavko-at-klincov-it/ANE-Training",
        "one source",
        "split the channels",
        chips=("m3",),
        facts=(62,),
        once=True,
        check=_stacked_channels,
    ),
    Rule(
        "dimension_cliff",
        "products have fewer than 5120 channels",
        "4.7 times slower for each layer from there on",
        "slow",
        "rustane",
        "one source",
        "split the channels",
        chips=("m4", "m5"),
        facts=(62,),
        once=True,
        check=_dimension_cliff,
    ),
    Rule(
        "constant_matmul",
        "products with constants are written as conv",
        "a 1x1 conv was 3 times as fast on M4",
        "slow",
        "maderix/ANE; rustane; slavko-at-klincov-it/ANE-Training",
        "several sources",
        "write conv on [1, channels, 1, sequence]",
        facts=(63,),
        once=True,
        check=_constant_matmul,
    ),
    Rule(
        "compressed_int8",
        "there is no constexpr_affine_dequantize",
        "M1 does not stream int8: a smaller file, the same speed",
        "slow",
        "sbryngelson/ane-guide ch. 3, 7",
        "one source",
        "use look-up tables of 16 entries: constexpr_lut_to_dense",
        chips=("m1",),
        once=True,
        check=lambda f: _compressed(f, "constexpr_affine_dequantize"),
    ),
    Rule(
        "compressed_blockwise",
        "there is no constexpr_blockwise_shift_scale",
        "M1 and M2 do not stream blocks: a smaller file, the same speed",
        "slow",
        "sbryngelson/ane-guide ch. 3, 7",
        "one source",
        "use look-up tables of 16 entries: constexpr_lut_to_dense",
        chips=("m1", "m2"),
        once=True,
        check=lambda f: _compressed(f, "constexpr_blockwise_shift_scale"),
    ),
)
