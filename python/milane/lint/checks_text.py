"""Rules on the text of a program, its ports and its weights."""

from __future__ import annotations

from collections.abc import Iterator

from milane import mil
from milane.errors import BlobError
from milane.lint.rule import Hit, Rule
from milane.lint.view import (
    BYTES,
    FunctionView,
    elements,
    padded_bytes,
    row_bytes,
    schemas,
)

OLD_OPSETS = ("ios13", "ios14", "ios15", "ios16")
RESERVED = {"var", "diff", "mean", "std", "eps", "x", "y", "mul", "add", "rsqrt", "c", "C"}
MAX_SURFACES = 128
LARGE_WEIGHTS = 150_000_000
RESIDENT_WEIGHTS = 1 << 30


def speaks_old_dialect(f: FunctionView) -> bool:
    """Whether a function is one of program(1.0) and of an opset up to ios16."""
    return f.program.program.version == "1.0" and f.function.opset in OLD_OPSETS


def newer_than_ios16(f: FunctionView) -> list[str]:
    """The operations and arguments of a function that ios16 does not have."""
    found: dict[str, None] = {}
    for node in f.nodes:
        schema = schemas().get(node.type)
        if schema is None or schema.since not in OLD_OPSETS:
            found[node.type] = None
            continue
        late = {arg.name for arg in schema.args if arg.since and arg.since not in OLD_OPSETS}
        found |= {f"{node.type} {name}": None for name in late & node.inputs.keys()}
    return list(found)


def _new_dialect(f: FunctionView) -> Iterator[Hit]:
    if speaks_old_dialect(f):
        return
    newer = newer_than_ios16(f)
    held = f"; ios16 lacks {', '.join(newer[:3])}" if newer else ""
    yield Hit(
        f"{f.function.name}: expected program(1.0) and ios16, got "
        f"program({f.program.program.version}) and {f.function.opset}{held}",
        f.function,
        f.function.name,
        f,
        fixable=not newer,
    )


def _program_version(f: FunctionView) -> Iterator[Hit]:
    version = f.program.program.version
    if version not in ("1.0", "1.3") and f is f.program.functions[0]:
        yield Hit(f"expected program(1.0) or program(1.3), got {version}", f.function, "", f)


def _ports(f: FunctionView) -> Iterator[tuple[str, mil.NamedType]]:
    """The tensors that go in and come out, each once."""
    for value in f.inputs.values():
        if value.type.kind == "tensor":
            yield "input", value
    for name in dict.fromkeys(f.outputs):
        made = f.made_by.get(name)
        if made is not None:
            for value in made.outputs:
                if value.name == name and value.type.kind == "tensor":
                    yield "output", value


def _reserved_names(f: FunctionView) -> Iterator[Hit]:
    for kind, value in _ports(f):
        if value.name in RESERVED:
            yield Hit(f"{kind} `{value.name}`: a name reported to fail", value, value.name, f)


def _port_order(f: FunctionView) -> Iterator[Hit]:
    for kind, names in (("inputs", list(f.inputs)), ("outputs", f.outputs)):
        order = sorted(names, key=str.encode)
        if order != names:
            wanted = ", ".join(order)
            yield Hit(
                f"{f.function.name}: {kind} {', '.join(names)} are numbered {wanted}",
                f.function,
                f.function.name,
                f,
            )


def _surfaces(f: FunctionView) -> Iterator[Hit]:
    count = len(f.inputs) + len(f.outputs)
    if count > MAX_SURFACES:
        yield Hit(
            f"{f.function.name}: expected at most {MAX_SURFACES} inputs and outputs, got {count}",
            f.function,
            f.function.name,
            f,
        )


def _row_alignment(f: FunctionView) -> Iterator[Hit]:
    for kind, value in _ports(f):
        row = row_bytes(value.type)
        if row % 64:
            yield Hit(
                f"{kind} `{value.name}`: a row of {value.type.shape[-1]} {value.type.dtype} takes "
                f"{row} bytes, no multiple of 64",
                value,
                value.name,
                f,
                fixable=value.type.dtype in ("fp16", "fp32") and None not in value.type.shape,
            )


def _short_rows(f: FunctionView) -> Iterator[Hit]:
    for kind, value in _ports(f):
        row = row_bytes(value.type)
        if 0 < row <= 32 and elements(value.type.shape) > 1:
            yield Hit(
                f"{kind} `{value.name}`: a row of {row} bytes takes 64, {64 / row:.4g} times the "
                "memory",
                value,
                value.name,
                f,
            )


def _fp32_ports(f: FunctionView) -> Iterator[Hit]:
    for kind, value in _ports(f):
        if value.type.dtype == "fp32":
            yield Hit(f"{kind} `{value.name}`: expected fp16, got fp32", value, value.name, f)


def _unequal_surfaces(f: FunctionView) -> Iterator[Hit]:
    for kind in ("input", "output"):
        sizes = {v.name: padded_bytes(v.type) for k, v in _ports(f) if k == kind}
        if len(set(sizes.values())) > 1:
            told = ", ".join(f"{name} {size}" for name, size in list(sizes.items())[:4])
            yield Hit(
                f"{f.function.name}: {kind}s of unequal size in bytes: {told}",
                f.function,
                f.function.name,
                f,
            )


def _blobs(f: FunctionView) -> Iterator[tuple[str, mil.Value]]:
    """Every weight-file constant of a function, by the name of the operation that holds it."""
    for node in f.nodes:
        if node.type == "const":
            value = node.op.value
            if value is not None and value.is_blob:
                yield node.name, value
            continue
        if node.type.startswith("constexpr_"):
            for value in node.op.attributes.values():
                if value.is_blob:
                    yield node.name, value
        for operands in node.inputs.values():
            for operand in operands:
                if isinstance(operand, mil.Value) and operand.is_blob:
                    yield node.name, operand


def _blob_offset(f: FunctionView) -> Iterator[Hit]:
    for name, value in _blobs(f):
        offset = value.blob_offset or 0
        if offset < 64:
            text = f"`{name}`: expected the offset of a record, 64 or more, got {offset}"
            yield Hit(text, value, name, f)
        elif (fault := _record_fault(f, value)) is not None:
            yield Hit(f"`{name}`: expected a record at {offset}, got {fault}", value, name, f)


def _record_fault(f: FunctionView, value: mil.Value) -> str | None:
    """What is wrong with a record of a weight file that is here."""
    try:
        file = f.program.weight_file(value)
        if file is None:
            return None
        dtype = file.record_at(value.blob_offset or 0).dtype
    except BlobError as error:
        return str(error).split("\n", 1)[0]
    return None if dtype == value.type.dtype else dtype


def _weight_bytes(f: FunctionView, limit: int) -> Iterator[Hit]:
    records = {(v.blob_path, v.blob_offset): v for _, v in _blobs(f)}
    total = 0
    for value in records.values():
        dtype = "fp16" if value.type.dtype == "fp32" else value.type.dtype
        total += int(elements(value.type.shape) * BYTES.get(dtype, 1))
    if total > limit:
        yield Hit(
            f"{f.function.name}: {total} bytes of weights, fp32 counted as fp16",
            f.function,
            f.function.name,
            f,
        )


RULES = (
    Rule(
        "new_dialect",
        "the program is program(1.0) with functions of ios16 or older and full scalar types",
        "the compiler refuses the text: InvalidMILProgram",
        "refused",
        "maderix/ANE pull requests 6, 25; skyfallsin field guide and ANE-LM; imperatormk/ane-train",
        "several sources",
        "write program(1.0), func main<ios16>, and tensor<string, []>(...) for string(...)",
        chips=("m1", "m2", "m3"),
        route="in memory",
        facts=(2,),
        once=True,
        check=_new_dialect,
    ),
    Rule(
        "program_version",
        "the program is program(1.0) or program(1.3)",
        "not known: one project alone used another version, program(1.5) on M5",
        "advisory",
        "maderix/ANE pull request 35",
        "one source",
        "write program(1.3), or program(1.0) for older chips",
        facts=(3,),
        check=_program_version,
    ),
    Rule(
        "reserved_names",
        f"no input or output is called {', '.join(sorted(RESERVED))}",
        "zeros, or a failed evaluation",
        "advisory",
        "imperatormk/ane-train",
        "sources disagree",
        "nothing to do with Milane, which binds by the compiled program's own numbers",
        chips=("m1",),
        against="x, y and W are used by every other project: probably the order of ports",
        facts=(7,),
        once=True,
        check=_reserved_names,
    ),
    Rule(
        "port_order",
        "inputs, and outputs, are declared in the order of their names' bytes",
        "the compiled program numbers them by name: code that binds by position mixes them up",
        "advisory",
        "mechramc/Orion; christopherkarani/Espresso; thebasedcapital/ane-infer",
        "several sources",
        "name them so that the order agrees; Milane itself binds by name",
        facts=(8,),
        once=True,
        check=_port_order,
    ),
    Rule(
        "surfaces",
        f"a function has at most {MAX_SURFACES} inputs and outputs together",
        "the request cannot be mapped",
        "refused",
        "slavko-at-klincov-it/ANE-Training; imperatormk/ane-train",
        "several sources",
        "concatenate some of them",
        facts=(13,),
        check=_surfaces,
    ),
    Rule(
        "blob_offset",
        "the offset of a BLOBFILE is that of a record: 64 or more, and not that of its data",
        "the weight is read from somewhere else",
        "silently wrong",
        "apple/coremltools StorageFormat.hpp; mechramc/Orion",
        "official",
        "give the offset that milane.blob.BlobWriter returns: of the record, not of its data",
        facts=(14, 16),
        check=_blob_offset,
    ),
    Rule(
        "row_alignment",
        "the last axis of every input and output takes a multiple of 64 bytes",
        "zeros, wrong values or status 0x1d where a surface is filled without gaps",
        "advisory",
        "ane crate (at least 64 wide); field guide (32); rustane (a multiple of 16); ane-bridge-rs "
        "(a multiple of 32); mechramc/Orion (49 KB)",
        "sources disagree",
        "nothing to do with Milane, whose surfaces have the device's rows; else pad the last axis",
        against="tmc/apple runs widths from 1 on with the strides that the compiled model tells",
        facts=(58,),
        once=True,
        check=_row_alignment,
    ),
    Rule(
        "short_rows",
        "the last axis of an input or output takes more than 32 bytes",
        "every row is padded to 64 bytes: a width of 1 costs 32 times the memory in fp16",
        "slow",
        "apple/coreai-models neural_engine_rules",
        "official",
        "put a longer axis last: [1, channels, 1, sequence]",
        once=True,
        check=_short_rows,
    ),
    Rule(
        "fp32_ports",
        "inputs and outputs are fp16",
        "fp32 ones are converted on the way: fp16 was about 37 % faster from end to end",
        "slow",
        "maderix/ANE",
        "one source",
        "declare them fp16; Milane converts what it is given",
        once=True,
        check=_fp32_ports,
    ),
    Rule(
        "unequal_surfaces",
        "all inputs, and all outputs, take equally many bytes",
        "status 0x1d",
        "advisory",
        "mechramc/Orion; maderix/ANE (any second input); imperatormk/ane-train (in order of size)",
        "sources disagree",
        "nothing to do with Milane, which takes size and order from the compiled program",
        against="tmc/apple, ANEForge, ANE-LM and the field guide bind tensors of different sizes",
        once=True,
        check=_unequal_surfaces,
    ),
    Rule(
        "large_weights",
        "the weights of a function take at most 150 MB",
        "it did not compile; large layers had to be cut into pieces",
        "refused",
        "skyfallsin ANE-LM and field guide",
        "one source",
        "split the function into several programs",
        chips=("m3",),
        facts=(25,),
        check=lambda f: _weight_bytes(f, LARGE_WEIGHTS),
    ),
    Rule(
        "resident_weights",
        "the weights of a function take at most 1 GiB",
        "loading fails (0x20004); M3 Max loaded 7.9 GB, and what loads once may fail another time",
        "refused",
        "jundot/omlx issues 2781, 2874, 2938, 2968",
        "several sources",
        "split the program, and load its parts one after the other",
        chips=("m1",),
        facts=(26,),
        check=lambda f: _weight_bytes(f, RESIDENT_WEIGHTS),
    ),
)
