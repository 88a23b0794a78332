"""The emulated AppleNeuralEngine itself, message by message, without the product in between."""

from __future__ import annotations

import ctypes
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from milane import _testing
from milane.blob import BlobWriter
from milane.errors import InvalidArgumentError, UnsupportedError

NO_EMULATION = "this build has no emulated framework (-DMILANE_EMULATED_FRAMEWORK=ON)"
needs_emulation = pytest.mark.skipif(not _testing.available(), reason=NO_EMULATION)
if _testing.available():
    from objective_c import Block, NSErrorError, NSExceptionError, Runtime

CSRC = Path(__file__).resolve().parent.parent / "csrc"
HEADER = (
    'program(1.3)\n[buildInfo = dict<string, string>({{"coremlc-component-MIL", "3510.2.1"}})]\n'
)
# Names out of order, and rows of ten bytes where the device has sixty-four.
DIFFERENCE = (
    HEADER
    + """{
  func main<ios18>(tensor<fp16, [1, 2, 3, 5]> b, tensor<fp16, [1, 2, 3, 5]> a) {
    tensor<fp16, [1, 2, 3, 5]> y = sub(x = b, y = a)[name = string("y")];
    tensor<fp16, [1, 2, 3, 5]> c = add(x = b, y = a)[name = string("c")];
  } -> (y, c);
}
"""
)
TWO_FUNCTIONS = (
    HEADER
    + """{
  func first<ios18>(tensor<fp16, [1, 4, 1, 32]> x0) {
    tensor<fp16, [1, 4, 1, 32]> y0 = relu(x = x0)[name = string("y0")];
  } -> (y0);
  func second<ios18>(tensor<fp16, [2, 3]> x1) {
    tensor<fp16, [2, 3]> y1 = abs(x = x1)[name = string("y1")];
  } -> (y1);
}
"""
)
WEIGHT_KEY = "@model_path/weights/weight.bin"
WEIGHTED = (
    HEADER
    + """{
  func main<ios18>(tensor<fp16, [1, 1, 1, 32]> x) {
    tensor<fp16, [1, 1, 1, 32]> w = const()[name = string("w"), val = tensor<fp16, [1, 1, 1, 32]>(BLOBFILE(path = string("@model_path/weights/weight.bin"), offset = uint64(64)))];
    tensor<fp16, [1, 1, 1, 32]> y = add(x = x, y = w)[name = string("y")];
  } -> (y);
}
"""
)
QOS = 21
DOMAIN = "com.apple.appleneuralengine"
COMPILER = "com.apple.appleneuralengine.compiler"
EVALUATE = "evaluateWithQoS:options:request:error:"
REQUEST = (
    "requestWithInputs:inputIndices:outputs:outputIndices:weightsBuffer:perfStats:procedureIndex:"
)


@pytest.fixture
def ns() -> Iterator[Runtime]:
    """Objective-C in a pool of its own, without faults or compiled programs of other tests."""
    if not _testing.available():
        pytest.skip(NO_EMULATION)
    runtime = Runtime()
    _testing.faults.clear()
    _testing.reset()
    with runtime.pool():
        yield runtime
    _testing.faults.clear()


def blob(value: float, folder: Path) -> bytes:
    with BlobWriter(folder / "blob.bin") as writer:
        writer.add(np.full((1, 1, 1, 32), value, np.float16))
    return (folder / "blob.bin").read_bytes()


class Surface:
    """An IOSurface of plain bytes, and the object that stands for it in a request."""

    def __init__(self, ns: Runtime, size: int) -> None:
        key = "kIOSurfaceAllocSize"
        constant = ctypes.c_void_p.in_dll(ns.library, key).value
        properties = ns.send("NSMutableDictionary", "dictionary")
        ns.send(properties, "setObject:forKey:", ns.number(size), constant)
        create = ns.library.IOSurfaceCreate
        create.restype, create.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        self.ns = ns
        self.ref = int(create(properties) or 0)
        assert self.ref
        self.object = ns.send("_ANEIOSurfaceObject", "objectWithIOSurface:", self.ref)
        base = ns.library.IOSurfaceGetBaseAddress
        base.restype, base.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        self.bytes = (ctypes.c_uint8 * size).from_address(int(base(self.ref)))
        ns.send(self.ref, "autorelease")

    def halves(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
        return np.ndarray(shape, np.float16, buffer=self.bytes, strides=strides)


class Model:
    """An in-memory model, staged as everyone has to."""

    def __init__(self, ns: Runtime, text: str, weights: dict[str, bytes] | None = None) -> None:
        self.ns, self.text, self.weights = ns, text, weights or {}
        entries = {
            key: ns.dictionary({"offset": ns.number(0), "data": ns.data(content)})
            for key, content in self.weights.items()
        }
        self.descriptor = ns.send(
            "_ANEInMemoryModelDescriptor",
            "modelWithMILText:weights:optionsPlist:",
            ns.data(text.encode()),
            ns.dictionary(entries),
            0,
        )
        self.object = ns.send("_ANEInMemoryModel", "inMemoryModelWithDescriptor:", self.descriptor)
        self.identifier = ns.text(ns.send(self.object, "hexStringIdentifier"))
        self.folder = Path(ns.temporary_folder()) / self.identifier

    def stage(self) -> Model:
        (self.folder / "weights").mkdir(parents=True, exist_ok=True)
        (self.folder / "model.mil").write_text(self.text)
        for key, content in self.weights.items():
            (self.folder / key.removeprefix("@model_path/")).write_bytes(content)
        return self

    def __enter__(self) -> Model:
        return self.stage()

    def __exit__(self, *_: object) -> None:
        if self.ns.send(self.object, "state") == 3:
            self.unload()
        shutil.rmtree(self.folder, ignore_errors=True)

    def compile(self) -> Model:
        self.ns.check(self.object, "compileWithQoS:options:error:", QOS, 0)
        return self

    def load(self) -> Model:
        self.ns.check(self.object, "loadWithQoS:options:error:", QOS, 0)
        return self

    def unload(self) -> None:
        self.ns.check(self.object, "unloadWithQoS:error:", QOS)

    def attributes(self) -> dict:
        inner = self.ns.send(self.object, "model")
        return self.ns.plain(self.ns.send(inner, "modelAttributes"))

    def evaluate(self, request: int) -> None:
        self.ns.check(self.object, EVALUATE, QOS, 0, request)


def request(
    ns: Runtime, inputs: dict[int, Surface], outputs: dict[int, Surface], procedure: int = 0
) -> int:
    return ns.send(
        "_ANERequest",
        REQUEST,
        ns.array([s.object for s in inputs.values()]),
        ns.numbers(list(inputs)),
        ns.array([s.object for s in outputs.values()]),
        ns.numbers(list(outputs)),
        0,
        0,
        ns.number(procedure),
    )


class Difference:
    """The loaded program DIFFERENCE with surfaces bound by its own attributes."""

    shape = (1, 2, 3, 5)

    def __init__(self, ns: Runtime, model: Model) -> None:
        attributes = model.attributes()
        status = attributes["NetworkStatusList"][0]
        tensors = {t["Name"]: t for t in status["LiveInputList"] + status["LiveOutputList"]}
        description = attributes["ANEFModelDescription"]
        self.inputs = description["kANEFModelInputSymbolsArrayKey"]
        self.outputs = description["kANEFModelOutputSymbolsArrayKey"]
        self.surfaces, self.views = {}, {}
        for name, t in tensors.items():
            self.surfaces[name] = Surface(ns, t["Batches"] * t["BatchStride"])
            strides = (t["BatchStride"], t["PlaneStride"], t["RowStride"], 2)
            self.views[name] = self.surfaces[name].halves(self.shape, strides)
        self.views["a"][...] = np.arange(30).reshape(self.shape)
        self.views["b"][...] = 100
        self.request = request(
            ns,
            {i: self.surfaces[name] for i, name in enumerate(self.inputs)},
            {i: self.surfaces[name] for i, name in enumerate(self.outputs)},
        )

    def expect(self) -> None:
        a, b = self.views["a"], self.views["b"]
        assert np.array_equal(self.views["y@output"], b - a)
        assert np.array_equal(self.views["c@output"], b + a)


@pytest.fixture
def model(ns: Runtime) -> Iterator[Model]:
    """DIFFERENCE, compiled and loaded."""
    with Model(ns, DIFFERENCE) as staged:
        yield staged.compile().load()


def api_rows() -> list[tuple[str, str, str, str]]:
    """(class, sign, selector, encoding) of the product's own table, where it is there."""
    table = CSRC / "apple" / "private_api.def"
    text = re.sub(r"//.*", "", table.read_text()) if table.is_file() else ""
    text = re.sub(r'"\s*\n\s*"', "", text)
    return re.findall(r'MILANE_METHOD\((\w+), ([+-]),\s*"([^"]+)",\s*"([^"]+)"', text)


@pytest.mark.parametrize(("cls", "sign", "selector", "encoding"), api_rows())
def test_every_method_the_product_calls_is_there_with_its_types(
    ns: Runtime, cls: str, sign: str, selector: str, encoding: str
) -> None:
    library = ns.library
    library.sel_registerName.restype = library.method_getTypeEncoding.restype = ctypes.c_void_p
    find = getattr(library, f"milane_emulated_{'class' if sign == '+' else 'instance'}_method")
    find.restype, find.argtypes = ctypes.c_void_p, [ctypes.c_void_p] * 2
    library.method_getTypeEncoding.argtypes = [ctypes.c_void_p]
    method = find(ns.cls(cls), library.sel_registerName(selector.encode()))
    assert method
    found = ctypes.string_at(library.method_getTypeEncoding(method)).decode()
    plain = re.sub(r"[0-9V]", "", found).replace("C", "B").replace("L", "Q")
    assert plain == encoding


def test_text_that_is_a_string_and_weights_that_are_nil_raise(ns: Runtime) -> None:
    factory = "modelWithMILText:weights:optionsPlist:"
    cls = "_ANEInMemoryModelDescriptor"
    with pytest.raises(NSExceptionError, match="NSInvalidArgument.*NSData"):
        ns.send(cls, factory, ns.string("program"), ns.dictionary({}), 0)
    with pytest.raises(NSExceptionError, match="weights"):
        ns.send(cls, factory, ns.data(b"program"), 0, 0)
    assert ns.send(cls, factory, ns.data(b""), ns.dictionary({}), 0) == 0


def test_an_identifier_has_three_parts_of_which_each_follows_its_content(
    ns: Runtime, tmp_path: Path
) -> None:
    first = Model(ns, WEIGHTED, {WEIGHT_KEY: blob(1, tmp_path)}).identifier.split("_")
    same = Model(ns, WEIGHTED, {WEIGHT_KEY: blob(1, tmp_path)}).identifier.split("_")
    other = Model(ns, WEIGHTED, {WEIGHT_KEY: blob(2, tmp_path)}).identifier.split("_")
    assert first == same
    assert [len(part) for part in first] == [64, 64, 64]
    assert [a == b for a, b in zip(first, other, strict=True)] == [True, True, False]


def test_the_compiler_reads_the_staging_folder_and_not_the_data(ns: Runtime) -> None:
    model = Model(ns, DIFFERENCE)
    shutil.rmtree(model.folder, ignore_errors=True)  # another run may have left it
    with pytest.raises(NSErrorError, match="InvalidMILProgram") as missing:
        model.compile()
    assert (missing.value.domain, missing.value.code) == (COMPILER, 1)
    assert "no model.mil" in _testing.reason()
    with model:
        (model.folder / "model.mil").write_text(DIFFERENCE + "\n")
        with pytest.raises(NSErrorError, match="InvalidMILProgram"):
            model.compile()
        model.stage().compile()
        assert (model.folder / "net.plist").is_file()
        assert (model.folder / "data").is_file()


@pytest.mark.parametrize(
    ("text", "cls"),
    [
        (DIFFERENCE.replace("sub(", "subtract("), "InvalidMILProgram"),
        (DIFFERENCE.replace("[buildInfo", "[info"), "InvalidMILProgram"),
        (DIFFERENCE.replace("-> (y, c)", "-> (y, d)"), "InvalidMILProgram"),
        (
            HEADER + "{\n  func main<ios18>(tensor<fp16, [4]> x) {\n"
            '    tensor<fp16, [4]> y = cumsum(x = x)[name = string("y")];\n  } -> (y);\n}\n',
            "CompilationFailure",
        ),
        (
            HEADER + "{\n  func main<ios18>(tensor<bool, [4]> x) {\n"
            '    tensor<bool, [4]> y = logical_not(x = x)[name = string("y")];\n  } -> (y);\n}\n',
            "CompilationFailure",
        ),
    ],
    ids=["unknown operation", "no build info", "a dead result", "no lowering", "bool input"],
)
def test_a_refused_program_gives_its_class_and_nothing_else(
    ns: Runtime, text: str, cls: str
) -> None:
    with Model(ns, text) as model, pytest.raises(NSErrorError) as refused:
        model.compile()
    assert (refused.value.domain, refused.value.code) == (COMPILER, 1)
    words = re.sub(r"\s+", " ", refused.value.text)
    assert words == f"_ANECompiler : ANECCompile() FAILED : err=( {cls} )"


def test_attributes_have_rows_of_64_bytes_and_symbols_in_the_order_of_their_bytes(
    ns: Runtime, model: Model
) -> None:
    attributes = model.attributes()
    description = attributes["ANEFModelDescription"]
    assert description["kANEFModelInputSymbolsArrayKey"] == ["a", "b"]
    assert description["kANEFModelOutputSymbolsArrayKey"] == ["c@output", "y@output"]
    assert description["ANEFModelProcedures"] == [
        {"ProcedureID": 0, "InputSymbolIndexArray": [0, 1], "OutputSymbolIndexArray": [0, 1]}
    ]
    a = attributes["NetworkStatusList"][0]["LiveInputList"][0]
    assert a["Name"] == "a"
    assert a["Type"] == "Float16"
    sizes = [a[k] for k in ("Batches", "Channels", "Depth", "Height", "Width")]
    assert sizes == [1, 2, 1, 3, 5]
    assert [a[k] for k in ("BatchStride", "PlaneStride", "RowStride")] == [384, 192, 64]


def test_a_program_evaluates_by_its_symbols_and_strides(ns: Runtime, model: Model) -> None:
    bound = Difference(ns, model)
    assert ns.yes(bound.request, "validate")
    model.evaluate(bound.request)
    bound.expect()


@pytest.mark.parametrize(
    "fault", ["symbols.reversed", "layout.row_pad", "layout.plane_pad"], ids=lambda f: f
)
def test_other_layouts_and_orders_are_published_and_meant(ns: Runtime, fault: str) -> None:
    with Model(ns, DIFFERENCE) as model, _testing.faults(fault):
        bound = Difference(ns, model.compile().load())
        model.evaluate(bound.request)
        bound.expect()
        assert (bound.inputs == ["b", "a"]) == (fault == "symbols.reversed")


def test_packed_rows_in_declaration_order_give_wrong_numbers(ns: Runtime, model: Model) -> None:
    bound = Difference(ns, model)
    swapped = request(
        ns,
        {0: bound.surfaces["b"], 1: bound.surfaces["a"]},
        {0: bound.surfaces["y@output"], 1: bound.surfaces["c@output"]},
    )
    model.evaluate(swapped)
    assert not np.array_equal(bound.views["y@output"], bound.views["b"] - bound.views["a"])


def test_functions_are_procedures_with_symbols_of_their_own(ns: Runtime) -> None:
    with Model(ns, TWO_FUNCTIONS) as model:
        attributes = model.compile().load().attributes()
        description = attributes["ANEFModelDescription"]
        assert description["ProcedureNameToIDMap"] == {"first": 0, "second": 1}
        assert description["ANEFModelProcedures"][1]["InputSymbolIndexArray"] == [1]
        x1 = attributes["NetworkStatusList"][1]["LiveInputList"][0]
        assert [x1[k] for k in ("Batches", "Channels", "Height", "Width")] == [1, 1, 2, 3]
        x, y = Surface(ns, 128), Surface(ns, 128)
        x.halves((2, 3), (64, 2))[...] = -7
        model.evaluate(request(ns, {1: x}, {1: y}, 1))
        assert np.array_equal(y.halves((2, 3), (64, 2)), np.full((2, 3), 7))
        for wrong in (request(ns, {0: x}, {0: y}, 1), request(ns, {1: x}, {1: y}, 2)):
            with pytest.raises(NSErrorError, match="status=0x2 ") as refused:
                model.evaluate(wrong)
            assert (refused.value.domain, refused.value.code) == (DOMAIN, 8)


def test_a_short_surface_fails_at_map_and_at_evaluation(ns: Runtime, model: Model) -> None:
    bound = Difference(ns, model)
    bound.surfaces["a"] = Surface(ns, 383)
    short = request(
        ns,
        {i: bound.surfaces[n] for i, n in enumerate(bound.inputs)},
        {i: bound.surfaces[n] for i, n in enumerate(bound.outputs)},
    )
    with pytest.raises(NSErrorError, match="map failure") as at_map:
        ns.check(model.object, "mapIOSurfacesWithRequest:cacheInference:error:", short, 1)
    assert at_map.value.code == 13
    with pytest.raises(NSErrorError, match="0x1d"):
        model.evaluate(short)


def test_more_than_128_surfaces_are_refused(ns: Runtime, model: Model) -> None:
    surfaces = {i: Surface(ns, 64) for i in range(128)}
    large = request(ns, surfaces, {0: surfaces[0]})
    assert not ns.yes(large, "validate")
    with pytest.raises(NSErrorError, match="0x1d"):
        model.evaluate(large)


def test_mapping_is_counted_until_it_is_undone(ns: Runtime, model: Model) -> None:
    def mapped() -> int:
        return _testing.live().get("mapped requests", 0)

    bound = Difference(ns, model)
    before = mapped()  # faults in other tests lose one for good
    ns.check(model.object, "mapIOSurfacesWithRequest:cacheInference:error:", bound.request, 1)
    assert mapped() == before + 1
    model.evaluate(bound.request)
    ns.send(model.object, "unmapIOSurfacesWithRequest:", bound.request)
    assert mapped() == before


def test_an_unloaded_program_does_not_evaluate_and_loads_again_without_a_compile(
    ns: Runtime, model: Model
) -> None:
    bound = Difference(ns, model)
    before = _testing.live()["loaded programs"]
    model.unload()
    assert _testing.live().get("loaded programs", 0) == before - 1
    with pytest.raises(NSErrorError, match="not loaded"):
        model.evaluate(bound.request)
    with pytest.raises(NSErrorError):
        model.unload()
    with _testing.recording() as calls:
        model.load()
        model.evaluate(bound.request)
        bound.expect()
    assert calls() == [
        "-[_ANEInMemoryModel loadWithQoS:options:error:]",
        f"-[_ANEInMemoryModel {EVALUATE}]",
    ]


def evaluated(ns: Runtime, model: Model) -> float:
    """What WEIGHTED adds to zero."""
    x, y = Surface(ns, 64), Surface(ns, 64)
    model.evaluate(request(ns, {0: x}, {0: y}))
    return float(y.halves((32,), (2,))[0])


def test_weights_overwritten_in_place_change_nothing(ns: Runtime, tmp_path: Path) -> None:
    with Model(ns, WEIGHTED, {WEIGHT_KEY: blob(1, tmp_path)}) as model:
        assert evaluated(ns, model.compile().load()) == 1
        model.unload()
        (model.folder / "weights" / "weight.bin").write_bytes(blob(2, tmp_path))
        assert evaluated(ns, model.load()) == 1
        model.unload()


def test_a_donor_folder_loads_without_a_compile(ns: Runtime, tmp_path: Path) -> None:
    with (
        Model(ns, WEIGHTED, {WEIGHT_KEY: blob(1, tmp_path)}) as donor,
        Model(ns, WEIGHTED, {WEIGHT_KEY: blob(2, tmp_path)}) as heir,
    ):
        with pytest.raises(NSErrorError, match="must re-compile"):
            heir.load()
        donor.compile()
        assert (donor.folder / "data").read_bytes() == donor.weights[WEIGHT_KEY]
        shutil.copy(donor.folder / "net.plist", heir.folder / "net.plist")
        (heir.folder / "data").write_bytes(heir.weights[WEIGHT_KEY])
        assert not ns.yes(heir.object, "compiledModelExists")
        assert evaluated(ns, heir.load()) == 2
        heir.unload()
        with _testing.faults("reload.stale"):
            assert evaluated(ns, heir.load()) == 1
        heir.unload()


def test_the_cache_outlives_models_until_it_is_purged(ns: Runtime) -> None:
    with Model(ns, DIFFERENCE) as first:
        first.compile()
    with Model(ns, DIFFERENCE) as second:
        assert ns.yes(second.object, "compiledModelExists")
        second.load().unload()
        ns.send(second.object, "purgeCompiledModel")
        assert not ns.yes(second.object, "compiledModelExists")


def test_a_load_needs_the_staging_folder(ns: Runtime) -> None:
    with Model(ns, DIFFERENCE) as model:
        model.compile()
    with pytest.raises(NSErrorError, match="file access failure"):
        model.load()


@pytest.fixture
def package(ns: Runtime, tmp_path: Path) -> tuple[int, int]:
    """(client, model) of DIFFERENCE as a compiled package, loaded."""
    folder = tmp_path / "difference.mlmodelc"
    folder.mkdir()
    (folder / "model.mil").write_text(DIFFERENCE)
    made = ns.send("_ANEModel", "modelAtURL:key:", ns.url(str(folder)), ns.string("s"))
    client = ns.send("_ANEClient", "sharedConnection")
    assert not ns.yes(client, "compiledModelExistsFor:", made)
    ns.check(client, "compileModel:options:qos:error:", made, 0, QOS)
    assert ns.yes(client, "compiledModelExistsFor:", made)
    ns.check(client, "loadModel:options:qos:error:", made, 0, QOS)
    assert not (folder / "net.plist").exists()
    return client, made


class PackageModel(Model):
    """The part of Model that a package shares."""

    def __init__(self, ns: Runtime, made: int) -> None:
        self.ns, self.object = ns, made

    def attributes(self) -> dict:
        return self.ns.plain(self.ns.send(self.object, "modelAttributes"))


@pytest.mark.parametrize(
    "path", ["evaluateWithModel", "doEvaluateDirectWithModel", "evaluateRealTimeWithModel"]
)
def test_a_package_evaluates_on_all_three_paths(
    ns: Runtime, package: tuple[int, int], path: str
) -> None:
    client, made = package
    bound = Difference(ns, PackageModel(ns, made))
    if path.startswith("evaluateRealTime"):
        ns.check(client, f"{path}:options:request:error:", made, 0, bound.request)
    else:
        ns.check(client, f"{path}:options:request:qos:error:", made, 0, bound.request, QOS)
    bound.expect()
    ns.check(client, "unloadModel:options:qos:error:", made, 0, QOS)


def events_request(ns: Runtime, bound: Difference, events: int) -> int:
    ns.send(bound.request, "setSharedEvents:", events)
    return bound.request


def shared_events(ns: Runtime, signal: int, wait: int, value: int) -> int:
    signals = ns.send(
        "_ANESharedSignalEvent",
        "signalEventWithValue:symbolIndex:eventType:sharedEvent:",
        *(value, 0, 5, signal),
    )
    waits = ns.send("_ANESharedWaitEvent", "waitEventWithValue:sharedEvent:", value, wait)
    return ns.send(
        "_ANESharedEvents",
        "sharedEventsWithSignalEvents:waitEvents:",
        *(ns.array([signals]), ns.array([waits])),
    )


def test_a_package_waits_for_events_and_signals_them(ns: Runtime, package: tuple[int, int]) -> None:
    client, made = package
    bound = Difference(ns, PackageModel(ns, made))
    signal, wait = (ns.send("IOSurfaceSharedEvent", "new") for _ in range(2))
    events = shared_events(ns, signal, wait, 3)
    call = "evaluateWithModel:options:request:qos:error:"
    arguments = (events_request(ns, bound, events), QOS)
    with pytest.raises(NSErrorError, match="0x1d"):
        ns.check(client, call, made, 0, *arguments)
    assert "kANEFDisableIOFences" in _testing.reason()
    options = ns.send("NSMutableDictionary", "dictionary")
    fences = ns.constant("kANEFDisableIOFencesUseSharedEventsKey")
    ns.send(options, "setObject:forKey:", ns.number(1), fences)
    with _testing.faults("event.timeout"), pytest.raises(NSErrorError, match="0x1d"):
        ns.check(client, call, made, options, *arguments)
    assert ns.send(signal, "signaledValue") == 0

    port = ns.send(wait, "eventPort") & 0xFFFFFFFF
    device = ns.library.MTLCreateSystemDefaultDevice
    device.restype = ctypes.c_void_p
    metal = int(device())
    gpu = ns.send(metal, "newSharedEventWithMachPort:", port)
    threading.Timer(0.02, lambda: ns.send(gpu, "setSignaledValue:", 3)).start()
    ns.check(client, call, made, options, *arguments)
    bound.expect()
    assert ns.send(signal, "signaledValue") == 3
    with pytest.raises(NSExceptionError, match="shared events"):
        ns.check(client, "unloadModel:options:qos:error:", made, 0, QOS)
    for owned in (signal, wait, gpu, metal):
        ns.send(owned, "release")


def test_an_in_memory_model_takes_no_events(ns: Runtime, model: Model) -> None:
    event = ns.send(ns.send("IOSurfaceSharedEvent", "new"), "autorelease")
    bound = Difference(ns, model)
    events_request(ns, bound, shared_events(ns, event, event, 1))
    with pytest.raises(NSErrorError, match="0x1d"):
        model.evaluate(bound.request)
    assert "in-memory" in _testing.reason()


@pytest.mark.parametrize(
    "cls",
    ["_ANEPerformanceStats", "_ANESharedSignalEvent", "_ANESharedWaitEvent", "_ANESharedEvents"],
)
def test_some_classes_cannot_be_made_by_new(ns: Runtime, cls: str) -> None:
    before = _testing.live().get(cls, 0)
    assert ns.send(cls, "new") == 0
    assert _testing.live().get(cls, 0) == before


@pytest.mark.parametrize(
    ("fault", "expected"), [(None, True), ("completion.error", False), ("completion.never", None)]
)
def test_a_completion_handler_is_called_on_another_thread(
    ns: Runtime, model: Model, fault: str | None, expected: bool | None
) -> None:
    bound = Difference(ns, model)
    done, seen = threading.Event(), []

    def completed(succeeded: int, error: int | None) -> None:
        seen.append((bool(succeeded), bool(error), threading.get_ident()))
        done.set()

    block = Block(ns.library, completed, ctypes.c_ubyte, ctypes.c_void_p)
    ns.send(bound.request, "setCompletionHandler:", block.address)
    with _testing.faults({fault: None} if fault else {}):
        model.evaluate(bound.request)
        called = done.wait(0.3 if expected is None else 10)
    assert called == (expected is not None)
    program = ns.send(ns.send(model.object, "model"), "program")
    while ns.send(program, "currentAsyncRequestsInFlight"):
        pass
    bound.expect()
    for succeeded, has_error, thread in seen:
        assert succeeded == expected
        assert has_error != expected
        assert thread != threading.get_ident()


FAILURES = [
    ("compile.invalid_program", "compile", (COMPILER, 1), "InvalidMILProgram"),
    ("compile.failure", "compile", (COMPILER, 1), "CompilationFailure"),
    ("compile.empty", "compile", (COMPILER, 1), r"err=\(\)"),
    ("compile.service_died", "compile", (COMPILER, 1), "lost helper application"),
    ("load.once", "load", (DOMAIN, 6), "0x20004"),
    ("load.always", "load", (DOMAIN, 6), "0x20004"),
    ("load.access", "load", (DOMAIN, 3), "file access failure"),
    ("load.recompile", "load", (DOMAIN, 5), "must re-compile"),
    ("eval.0x1d", "evaluate", (DOMAIN, 8), "status=0x1d"),
    ("eval.0x2", "evaluate", (DOMAIN, 8), "status=0x2 "),
    ("eval.0x16", "evaluate", (DOMAIN, 8), "status=0x16"),
    ("unload.failure", "unload", (DOMAIN, 7), "unload"),
]


@pytest.mark.parametrize(("fault", "stage", "error", "text"), FAILURES)
def test_an_injected_failure_has_its_published_words(
    ns: Runtime, fault: str, stage: str, error: tuple[str, int], text: str
) -> None:
    with Model(ns, DIFFERENCE) as model, _testing.faults(fault, 1):
        stages = {
            "compile": model.compile,
            "load": model.load,
            "evaluate": lambda: model.evaluate(Difference(ns, model).request),
            "unload": model.unload,
        }
        for name, act in stages.items():
            if name == stage:
                with pytest.raises(NSErrorError, match=text) as failed:
                    act()
                assert (failed.value.domain, failed.value.code) == error
            act()


@pytest.mark.parametrize(
    ("fault", "stage"),
    [
        ("exception.compile", "compileWithQoS:options:error:"),
        ("exception.load", "loadWithQoS:options:error:"),
        ("eval.exception", EVALUATE),
        ("exception.unload", "unloadWithQoS:error:"),
    ],
)
def test_an_injected_exception_is_raised(ns: Runtime, model: Model, fault: str, stage: str) -> None:
    with (
        _testing.faults(fault),
        pytest.raises(NSExceptionError, match="NSInternalInconsistency.*injected"),
    ):
        ns.send(model.object, stage, QOS, 0, Difference(ns, model).request, 0)


@pytest.mark.parametrize("cached", [True, False])
def test_mapping_with_a_cache_can_fail_alone(ns: Runtime, model: Model, cached: bool) -> None:
    bound = Difference(ns, model)
    arguments = ("mapIOSurfacesWithRequest:cacheInference:error:", bound.request, int(cached))
    with _testing.faults("map.cached"):
        if cached:
            with pytest.raises(NSErrorError, match="map failure"):
                ns.check(model.object, *arguments)
        else:
            ns.check(model.object, *arguments)
            ns.send(model.object, "unmapIOSurfacesWithRequest:", bound.request)


def test_a_missing_selector_is_not_answered_and_raises(ns: Runtime, model: Model) -> None:
    selector = "compiledModelExists"
    sel = ns.library.sel_registerName
    sel.restype = ctypes.c_void_p
    number = int(sel(selector.encode()))
    assert ns.yes(model.object, "respondsToSelector:", number)
    for name in (selector, f"_ANEInMemoryModel.{selector}", f"other:, {selector}"):
        with _testing.faults("missing.selector", name):
            assert not ns.yes(model.object, "respondsToSelector:", number)
            assert not ns.yes("_ANEInMemoryModel", "instancesRespondToSelector:", number)
            with pytest.raises(NSExceptionError, match="does not recognize|unrecognized"):
                ns.send(model.object, selector)
        assert ns.yes(model.object, selector)
    with _testing.faults("missing.selector", f"_ANEClient.{selector}"):
        assert ns.yes(model.object, selector)


def test_a_missing_class_is_not_found(ns: Runtime) -> None:
    with _testing.faults("missing.class", "_ANEClient,_ANEModel"):
        assert ns.cls("_ANEClient") == 0
        assert ns.cls("_ANEModel") == 0
        assert ns.cls("_ANERequest") != 0
    assert ns.cls("_ANEClient") != 0


def test_real_time_can_be_refused_and_gated(ns: Runtime) -> None:
    client = ns.send("_ANEClient", "sharedConnection")
    assert not ns.yes(client, "endRealTimeTask")
    assert ns.yes(client, "beginRealTimeTask")
    assert _testing.live()["real-time tasks"] == 1
    assert ns.yes(client, "endRealTimeTask")
    with _testing.faults("realtime.refused"):
        assert not ns.yes(client, "beginRealTimeTask")
    with _testing.faults("realtime.gated"), pytest.raises(NSErrorError, match="0xe00002c7"):
        ns.check(client, "evaluateRealTimeWithModel:options:request:error:", 0, 0, 0)
    with pytest.raises(NSErrorError) as chaining:
        ns.check(client, "prepareChainingWithModel:options:chainingReq:qos:error:", 0, 0, 0, QOS)
    assert chaining.value.code == 15


def test_hardware_time_is_zero_unless_a_fault_gives_one(ns: Runtime, model: Model) -> None:
    bound = Difference(ns, model)
    stats = ns.send("_ANEPerformanceStats", "statsWithHardwareExecutionNS:", 0)
    ns.send(bound.request, "setPerfStats:", stats)
    ns.send(model.object, "setPerfStatsMask:", 1)
    model.evaluate(bound.request)
    assert ns.send(stats, "hwExecutionTime") == 0
    with _testing.faults("perf.ns", 4321):
        model.evaluate(bound.request)
    assert ns.send(stats, "hwExecutionTime") == 4321
    model.unload()
    model.load()
    assert ns.send(model.object, "perfStatsMask") & 0xFFFFFFFF == 0


def test_constants_are_not_all_their_own_names(ns: Runtime) -> None:
    assert ns.text(ns.constant("kANEFModelTypeKey")) == "kANEFModelType"
    assert ns.text(ns.constant("kANEFModelDescriptionKey")) == "ANEFModelDescription"
    same = "kANEFModelInputSymbolsArrayKey"
    assert ns.text(ns.constant(same)) == same


def test_qualities_of_service_have_the_published_values(ns: Runtime) -> None:
    values = {
        kind: ns.send("_ANEQoSMapper", f"ane{kind}TaskQoS") & 0xFF
        for kind in ("RealTime", "Background", "Utility", "Default", "UserInteractive")
    }
    assert list(values.values()) == [0, 9, 17, 21, 33]
    assert ns.send("_ANEQoSMapper", "programPriorityForQoS:", 99) & 0xFF == 5


def test_device_information_follows_its_faults(ns: Runtime) -> None:
    assert ns.yes("_ANEDeviceInfo", "hasANE")
    assert not ns.yes("_ANEDeviceInfo", "isVirtualMachine")
    with _testing.faults({"no_ane": None, "vm": None}):
        assert not ns.yes("_ANEDeviceInfo", "hasANE")
        assert ns.yes("_ANEDeviceInfo", "isVirtualMachine")


def test_an_iosurface_is_found_by_number_and_locks_by_count(ns: Runtime) -> None:
    library = ns.library
    surface = Surface(ns, 100)
    library.IOSurfaceGetID.argtypes = library.IOSurfaceGetAllocSize.argtypes = [ctypes.c_void_p]
    library.IOSurfaceLookup.restype = ctypes.c_void_p
    for lock in (library.IOSurfaceLock, library.IOSurfaceUnlock):
        lock.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p]
    assert library.IOSurfaceGetAllocSize(surface.ref) == 100
    found = library.IOSurfaceLookup(library.IOSurfaceGetID(surface.ref))
    assert found == surface.ref
    ns.send(found, "release")
    assert library.IOSurfaceLookup(0x7FFFFFFF) is None
    assert library.IOSurfaceUnlock(surface.ref, 0, None) != 0
    assert library.IOSurfaceLock(surface.ref, 0, None) == 0
    assert library.IOSurfaceUnlock(surface.ref, 0, None) == 0


def test_a_metal_buffer_over_memory_gives_it_back(ns: Runtime) -> None:
    create = ns.library.MTLCreateSystemDefaultDevice
    create.restype = ctypes.c_void_p
    device = int(create())
    surface = Surface(ns, 16384)
    freed: list[tuple[int, int]] = []
    block = Block(ns.library, lambda p, n: freed.append((p, n)), ctypes.c_void_p, ctypes.c_ulong)
    make = "newBufferWithBytesNoCopy:length:options:deallocator:"
    base = ctypes.addressof(surface.bytes)
    assert ns.send(device, make, base + 64, 16384, 0, 0) == 0
    buffer = ns.send(device, make, base, 16384, 0, block.address)
    assert ns.send(buffer, "contents") == base
    assert ns.send(buffer, "length") == 16384
    ns.send(buffer, "release")
    assert freed == [(base, 16384)]
    ns.send(device, "release")


def test_nothing_is_left_of_many_rounds(ns: Runtime) -> None:
    def one_round() -> None:
        with ns.pool(), Model(ns, DIFFERENCE) as model:
            bound = Difference(ns, model.compile().load())
            arguments = ("mapIOSurfacesWithRequest:cacheInference:error:", bound.request, 1)
            ns.check(model.object, *arguments)
            model.evaluate(bound.request)
            ns.send(model.object, "unmapIOSurfacesWithRequest:", bound.request)
            with _testing.faults("exception.unload"), pytest.raises(NSExceptionError):
                model.unload()
            model.unload()

    one_round()
    before = _testing.live()
    for _ in range(50):
        one_round()
    assert _testing.live() == before


def test_threads_share_a_request_and_have_their_own(ns: Runtime, model: Model) -> None:
    shared = Difference(ns, model)
    wrong: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                with ns.pool():
                    own = Difference(ns, model)
                    model.evaluate(own.request)
                    own.expect()
                    model.evaluate(shared.request)
        except BaseException as e:
            wrong.append(e)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    shared.expect()


@needs_emulation
def test_an_unknown_fault_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidArgumentError, match=r"load\.once"):
        _testing.faults.set("load.sometimes")
    with pytest.raises(InvalidArgumentError, match="expected a value"):
        _testing.faults.set("load.once", "often")
    with pytest.raises(InvalidArgumentError, match="expected a value"):
        _testing.faults.set("missing.class")


@needs_emulation
def test_every_fault_can_be_set_and_has_an_effect_in_words() -> None:
    for name, effect in _testing.faults.known().items():
        assert effect
        value = "nobody" if name.startswith("missing.") else 1
        with _testing.faults(name, value):
            pass


@pytest.mark.skipif(_testing.available(), reason="this build has the emulation")
def test_without_the_emulation_every_call_says_how_to_get_it() -> None:
    with pytest.raises(UnsupportedError, match="MILANE_EMULATED_FRAMEWORK"):
        _testing.live()


@needs_emulation
def test_the_readme_has_every_fault_with_its_effect() -> None:
    readme = (CSRC / "emulated" / "README.md").read_text()
    rows = dict(re.findall(r"^\| `([\w.]+)` \| \w+ \| (.+) \|$", readme, re.MULTILINE))
    assert rows == _testing.faults.known()
