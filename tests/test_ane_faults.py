"""Every failure the emulated device can be made to show: its class, where it comes from, what is
said, what is left behind, and that the runtime and the kernel work again afterwards."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import milane
from milane import _testing

if not _testing.available():
    pytest.skip("the emulated framework is not in this build", allow_module_level=True)

faults = _testing.faults
ANE = "com.apple.appleneuralengine"
COMPILER = "com.apple.appleneuralengine.compiler"
X = np.linspace(-2, 2, 12, dtype=np.float16).reshape(1, 3, 1, 4)

PROGRAM = """program(1.3)
[buildInfo = dict<string, string>({{"coremlc-version", "3505.4.1"}})]
{
    func main<ios18>(tensor<fp16, [1, 3, 1, 4]> x) {
        fp16 two = const()[name = string("two"), val = fp16(2)];
        tensor<fp16, [1, 3, 1, 4]> y = mul(x = x, y = two)[name = string("y")];
    } -> (y);
}
"""


def weighted(scale: float = 1.0) -> bytes:
    return milane.blob.build_weight_blob(np.full((1, 3, 1, 4), scale, np.float16))


WEIGHTED = """program(1.3)
[buildInfo = dict<string, string>({{"coremlc-version", "3505.4.1"}})]
{
    func main<ios18>(tensor<fp16, [1, 3, 1, 4]> x) {
        tensor<fp16, [1, 3, 1, 4]> w = const()[name = string("w"), val = tensor<fp16, [1, 3, 1, 4]>(BLOBFILE(path = string("@model_path/weights/weight.bin"), offset = uint64(64)))];
        tensor<fp16, [1, 3, 1, 4]> y = mul(x = x, y = w)[name = string("y")];
    } -> (y);
}
"""


@pytest.fixture(scope="module", autouse=True)
def _clients() -> None:
    """Connections live as long as the process: they are there before anything is counted."""
    with milane.open("ane", compile_budget=10**9) as opened:
        for route in ("memory", "client"):
            with opened.compile(PROGRAM, route=route) as kernel:
                kernel.eval(direct=True)


@pytest.fixture
def lost() -> dict[str, int]:
    """What a test makes the device keep for good: a fault of its own, not of ours."""
    return {}


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(_clients: None, lost: dict[str, int]) -> Iterator[None]:
    """Every test ends with as many objects alive as it began with."""
    _testing.reset()
    gc.collect()
    before = _testing.live()
    yield
    faults.clear()
    _testing.reset()
    gc.collect()
    after = _testing.live()
    assert {k: after.get(k, 0) - before.get(k, 0) for k in before | after} == {
        k: lost.get(k, 0) for k in before | after
    }


@pytest.fixture
def runtime() -> Iterator[milane.Runtime]:
    with milane.open("ane", compile_budget=10**9) as opened:
        yield opened


def assert_works(runtime: milane.Runtime) -> None:
    with runtime.compile(PROGRAM) as kernel:
        assert (kernel(X)["y"] == X * 2).all()


@dataclass(frozen=True)
class Expected:
    fault: str
    error: type[milane.AneError]
    op: str
    domain: str
    code: int | None  # None: no source gives it
    cls: str
    hint: str


AT_COMPILE = [
    Expected("compile.invalid_program", milane.CompileError, "compile", COMPILER, 1,
             "InvalidMILProgram", "does not accept the text"),
    Expected("compile.failure", milane.CompileError, "compile", COMPILER, 1, "CompilationFailure",
             "cannot be lowered"),
    Expected("compile.empty", milane.CompileError, "compile", COMPILER, 1, "ANECCompile",
             "gives no reason"),
    Expected("load.always", milane.ModelLoadError, "load", ANE, 6, "status=0x20004", "too large"),
    Expected("load.recompile", milane.ModelLoadError, "load", ANE, None, "GetANEFModel",
             "close kernels"),
    Expected("nil.descriptor", milane.CompileError, "descriptor", ANE, 0, "", "doctor"),
    Expected("nil.model", milane.CompileError, "descriptor", ANE, 0, "", "doctor"),
    Expected("nil.attributes", milane.UnsupportedLayoutError, "attributes", "", 0, "", "guessed"),
    Expected("nil.request", milane.EvalError, "request", ANE, 0, "", "doctor"),
    Expected("nil.surface", milane.EvalError, "request", ANE, 0, "", "doctor"),
    Expected("nil.iosurface", milane.MapFailedError, "surface", ANE, 0, "", "doctor"),
    Expected("map.failure", milane.MapFailedError, "map", ANE, 13, "IOSurfaceMap", "shorter"),
    Expected("validate.no", milane.EvalError, "request", ANE, 0, "", "doctor"),
]  # fmt: skip

AT_EVAL = [
    Expected("eval.0x1d", milane.EvalError, "eval", ANE, 8, "status=0x1d", "too small"),
    Expected("eval.0x2", milane.EvalError, "eval", ANE, 8, "status=0x2", "another procedure"),
    Expected("eval.0x16", milane.EvalError, "eval", ANE, 8, "status=0x16", "retry"),
]  # fmt: skip

EXCEPTIONS = ["descriptor", "compile", "load", "attributes", "surface", "request", "map"]


def assert_is(error: milane.AneError, expected: Expected) -> None:
    assert type(error) is expected.error
    found = (error.op, error.domain, error.cls)
    assert found == (expected.op, expected.domain, expected.cls)
    assert expected.code is None or error.code == expected.code
    assert expected.hint in error.hint
    assert str(error).endswith(f"hint: {error.hint}")


@pytest.mark.parametrize("route", ["memory", "client"])
@pytest.mark.parametrize("expected", AT_COMPILE, ids=lambda e: e.fault)
def test_a_failure_on_the_way_to_a_kernel_says_what_failed(
    expected: Expected, route: str, runtime: milane.Runtime
) -> None:
    if expected.fault == "nil.descriptor" and route == "client":
        pytest.skip("the client's route has no descriptor")
    with faults(expected.fault), pytest.raises(milane.AneError) as caught:
        runtime.compile(PROGRAM, route=route, use_cache=False)
    assert_is(caught.value, expected)
    assert_works(runtime)


@pytest.mark.parametrize("stage", EXCEPTIONS)
def test_an_exception_of_the_framework_becomes_an_error(
    stage: str, runtime: milane.Runtime
) -> None:
    with faults(f"exception.{stage}"), pytest.raises(milane.AneError) as caught:
        runtime.compile(PROGRAM)
    assert caught.value.domain == "NSException"
    assert caught.value.cls
    assert "doctor" in caught.value.hint
    assert_works(runtime)


@pytest.mark.parametrize("direct", [False, True], ids=["standard", "direct"])
@pytest.mark.parametrize("expected", AT_EVAL, ids=lambda e: e.fault)
def test_a_failed_evaluation_says_what_failed_and_the_next_one_works(
    expected: Expected, direct: bool, runtime: milane.Runtime
) -> None:
    with runtime.compile(PROGRAM) as kernel:
        kernel.inputs["x"].array[...] = X
        with faults(expected.fault, 1):
            with pytest.raises(milane.AneError) as caught:
                kernel.eval(direct=direct)
            assert_is(caught.value, expected)
            kernel.eval(direct=direct)  # the fault was for one call
        assert (kernel.outputs["y"].array == X * 2).all()


def test_an_exception_in_an_evaluation_is_an_error_and_the_next_one_works(
    runtime: milane.Runtime,
) -> None:
    with runtime.compile(PROGRAM) as kernel:
        with faults("eval.exception", 1), pytest.raises(milane.EvalError) as caught:
            kernel.eval()
        assert caught.value.domain == "NSException"
        assert (kernel(X)["y"] == X * 2).all()


def test_a_load_that_fails_once_is_tried_again(runtime: milane.Runtime) -> None:
    with faults("load.once"), runtime.compile(PROGRAM) as kernel:
        assert (kernel(X)["y"] == X * 2).all()


def test_mapping_goes_on_without_cached_inference(runtime: milane.Runtime) -> None:
    with faults("map.cached"), runtime.compile(PROGRAM) as kernel:
        assert (kernel(X)["y"] == X * 2).all()


def test_the_compiler_service_that_dies_is_named(runtime: milane.Runtime) -> None:
    with faults("compile.service_died"), pytest.raises(milane.CompileError) as caught:
        runtime.compile(PROGRAM)
    assert caught.value.cls == "ServiceDied"
    assert "crashed" in caught.value.hint
    assert_works(runtime)


def test_a_folder_the_service_may_not_read_is_named(runtime: milane.Runtime) -> None:
    with faults("load.access"), pytest.raises(milane.ModelLoadError) as caught:
        runtime.compile(PROGRAM, route="client")
    assert caught.value.cls == "FileAccess"
    assert 'route="memory"' in caught.value.hint


def test_a_refused_compile_lists_the_rules_the_program_breaks(runtime: milane.Runtime) -> None:
    text = PROGRAM.replace("mul(x = x, y = two)", "cumsum(x = x)")
    with pytest.raises(milane.CompileError) as caught:
        runtime.compile(text)
    assert (caught.value.domain, caught.value.code) == (COMPILER, 1)
    assert "known to be refused" in caught.value.hint
    assert "cumsum" in caught.value.hint


def test_a_failed_unload_is_an_error_and_the_kernel_is_closed(runtime: milane.Runtime) -> None:
    kernel = runtime.compile(PROGRAM)
    with faults("unload.failure", 1), pytest.raises(milane.ModelLoadError) as caught:
        kernel.close()
    assert caught.value.op == "unload"
    assert kernel.closed
    kernel.close()


def test_a_kernel_dropped_while_unloading_fails_raises_nothing(
    runtime: milane.Runtime, lost: dict[str, int]
) -> None:
    kernel = runtime.compile(PROGRAM)
    with faults({"exception.unload": None, "exception.unmap": None}):
        del kernel
        gc.collect()
    lost.update({"loaded programs": 1, "mapped requests": 1})  # but no object of ours


# --- completion handlers


def test_a_completion_handler_reports_the_end(runtime: milane.Runtime) -> None:
    with runtime.compile(PROGRAM) as kernel:
        kernel.inputs["x"].array[...] = X
        for _ in range(50):
            kernel.outputs["y"].array[...] = 0
            kernel.eval(timeout=10)
            assert (kernel.outputs["y"].array == X * 2).all()


def test_a_completion_handler_reports_an_error(runtime: milane.Runtime) -> None:
    with runtime.compile(PROGRAM) as kernel:
        with faults("completion.error", 1), pytest.raises(milane.EvalError) as caught:
            kernel.eval(timeout=10)
        assert (caught.value.domain, caught.value.code) == (ANE, 8)
        assert (kernel(X)["y"] == X * 2).all()


def test_a_completion_that_never_comes_ends_at_the_timeout(runtime: milane.Runtime) -> None:
    with runtime.compile(PROGRAM) as kernel:
        with faults("completion.never", 1):
            start = time.monotonic()
            with pytest.raises(milane.EvalError) as caught:
                kernel.eval(timeout=0.05)
            assert time.monotonic() - start >= 0.05
        assert caught.value.cls == "Timeout"
        assert (kernel(X)["y"] == X * 2).all()
        kernel.eval(timeout=10)


# --- paths


def test_the_direct_path_gives_the_same_numbers(runtime: milane.Runtime) -> None:
    with runtime.compile(PROGRAM) as kernel, _testing.recording() as calls:
        kernel.inputs["x"].array[...] = X
        kernel.eval(direct=True)
        assert (kernel.outputs["y"].array == X * 2).all()
        assert any("doEvaluateDirectWithModel" in call for call in calls())


@pytest.mark.parametrize(
    "fault",
    [None, "realtime.refused", "realtime.gated"],
    ids=["granted", "begin refused", "path gated"],
)
def test_a_real_time_section_evaluates_whatever_the_device_answers(
    fault: str | None, runtime: milane.Runtime
) -> None:
    wanted = {} if fault is None else {fault: None}
    if fault == "realtime.gated":
        wanted["realtime.refused"] = None
    with runtime.compile(PROGRAM) as kernel, faults(wanted), _testing.recording() as calls:
        with runtime.realtime() as section:
            assert section.granted == (fault is None)
            assert ("NO" in section.reason) == (fault is not None)
            assert (kernel(X)["y"] == X * 2).all()
        assert any("evaluateRealTimeWithModel" in call for call in calls())
        assert any("endRealTimeTask" in call for call in calls()) == (fault is None)
        assert (kernel(X)["y"] == X * 2).all()


def test_real_time_sections_nest(runtime: milane.Runtime) -> None:
    with _testing.recording() as calls:
        with runtime.realtime(), runtime.realtime() as inner:
            assert inner.granted
        assert sum("beginRealTimeTask" in call for call in calls()) == 1
        assert sum("endRealTimeTask" in call for call in calls()) == 1


def test_a_granted_real_time_path_that_fails_is_an_error(runtime: milane.Runtime) -> None:
    with runtime.compile(PROGRAM) as kernel, runtime.realtime():
        with faults("realtime.gated", 1), pytest.raises(milane.EvalError):
            kernel.eval()
        assert (kernel(X)["y"] == X * 2).all()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [("perf.zero", None), ("perf.ns", 1234)],
    ids=["zero is no answer", "a number is passed on"],
)
def test_hardware_time(fault: str, expected: int | None, runtime: milane.Runtime) -> None:
    with (
        faults(fault, expected),
        runtime.compile(PROGRAM, perf_stats_mask=0xF) as kernel,
    ):
        stats = kernel.eval_with_stats()
        assert stats.hw_execution_ns == expected
        assert stats.wall_ns > 0


# --- what a system may lack


MISSING_OPTIONAL = [
    "localModelPath",
    "sharedConnection",
    "compiledModelExists",
    "purgeCompiledModel",
    "mapIOSurfacesWithRequest:cacheInference:error:",
    "unmapIOSurfacesWithRequest:",
    "setPerfStatsMask:",
    "validate",
    "queueDepth",
    "program",
    "aneArchitectureType",
    "isVirtualMachine",
    "numANECores",
    "requestWithInputs:inputIndices:outputs:outputIndices:weightsBuffer:perfStats:procedureIndex:"
    "sharedEvents:transactionHandle:",
]


@pytest.mark.parametrize("selector", MISSING_OPTIONAL, ids=lambda s: s.split(":", maxsplit=1)[0])
def test_a_system_without_an_optional_selector_still_evaluates(selector: str) -> None:
    with faults("missing.selector", selector), milane.open("ane") as runtime:
        assert_works(runtime)


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("missing.class", "_ANERequest"),
        ("missing.class", "_ANEInMemoryModel"),
        ("missing.selector", "loadWithQoS:options:error:"),
        ("missing.selector", "modelAttributes"),
    ],
    ids=lambda value: value.split(":", maxsplit=1)[0],
)
def test_a_system_without_something_required_has_no_engine_and_says_what_is_missing(
    fault: str, name: str
) -> None:
    with faults(fault, name):
        assert not milane.probe().has_ane
        with pytest.raises(milane.NoANEError, match=name.replace("+", r"\+")):
            milane.open("ane")
        with milane.open() as runtime:
            assert runtime.backend == "host"
    assert milane.probe().has_ane


@pytest.mark.parametrize(
    ("selector", "use"),
    [
        ("doEvaluateDirectWithModel:options:request:qos:error:", {"direct": True}),
        ("setCompletionHandler:", {"timeout": 1.0}),
    ],
    ids=["direct", "completion"],
)
def test_a_path_the_system_lacks_is_named(
    selector: str, use: dict[str, object], runtime: milane.Runtime
) -> None:
    with runtime.compile(PROGRAM) as kernel:
        with faults("missing.selector", selector):
            with pytest.raises(milane.UnsupportedSelectorError) as caught:
                kernel.eval(**use)  # type: ignore[arg-type]
            assert selector in str(caught.value)
            assert "doctor" in caught.value.hint
        kernel.eval(**use)  # type: ignore[arg-type]


def test_a_route_the_system_lacks_is_named(runtime: milane.Runtime) -> None:
    with faults("missing.selector", "modelAtURL:key:"):
        with pytest.raises(milane.UnsupportedSelectorError, match="modelAtURL:key:"):
            runtime.compile(PROGRAM, route="client")
        assert_works(runtime)


def test_a_machine_without_an_engine_says_so() -> None:
    with faults("no_ane"):
        assert not milane.probe().has_ane
        with pytest.raises(milane.NoANEError, match="no Neural Engine"):
            milane.open("ane")


def test_probe_never_raises() -> None:
    with faults("exception.device"):
        assert not milane.probe().has_ane


def test_a_virtual_machine_is_reported() -> None:
    with faults("vm"):
        assert milane.probe().is_vm


# --- order of calls, cache and budget


def test_the_calls_come_in_the_order_that_is_known_to_work(runtime: milane.Runtime) -> None:
    with _testing.recording() as calls:
        with runtime.compile(PROGRAM) as kernel:
            kernel.eval()
        recorded = calls()
    wanted = [
        "modelWithMILText", "inMemoryModelWithDescriptor", "compileWithQoS", "loadWithQoS",
        "modelAttributes", "requestWithInputs", "validate", "mapIOSurfacesWithRequest",
        "evaluateWithQoS", "unmapIOSurfacesWithRequest", "unloadWithQoS",
    ]  # fmt: skip
    places = [next(i for i, call in enumerate(recorded) if name in call) for name in wanted]
    assert places == sorted(places), recorded


def test_a_program_compiled_before_is_loaded_and_not_counted(runtime: milane.Runtime) -> None:
    before = runtime.compile_count
    assert_works(runtime)
    assert runtime.compile_count == before + 1
    assert_works(runtime)
    assert runtime.compile_count == before + 1
    with runtime.compile(PROGRAM, use_cache=False):
        assert runtime.compile_count == before + 2


def test_a_damaged_entry_of_the_cache_is_replaced_by_a_compile(runtime: milane.Runtime) -> None:
    assert_works(runtime)
    before = runtime.compile_count
    with faults("load.once", 2), _testing.recording() as calls:
        assert_works(runtime)
        assert any("purgeCompiledModel" in call for call in calls())
    assert runtime.compile_count == before + 1


def test_the_budget_is_the_process_s_and_names_the_remedies() -> None:
    with milane.open("ane") as standard:
        assert standard.compile_budget == 119
    with milane.open("ane", compile_budget=10**9) as first:
        assert_works(first)
        used = first.compile_count
    with milane.open("ane", compile_budget=used) as full:
        assert_works(full)  # from the cache: no compile
        with pytest.raises(milane.CompileBudgetExhaustedError, match="inputs of the program"):
            full.compile(PROGRAM, use_cache=False)
        full.reset_compile_count()
        with full.compile(PROGRAM, use_cache=False):
            assert full.compile_count == 1


# --- weights


@pytest.mark.parametrize("route", ["memory", "client"])
def test_reload_swaps_the_baked_weights(route: str, runtime: milane.Runtime) -> None:
    with runtime.compile(WEIGHTED, weight_blob=weighted(2), route=route) as kernel:
        assert (kernel(X)["y"] == X * 2).all()
        compiled = runtime.compile_count
        how = kernel.reload(weighted(3))
        assert how == ("donor" if route == "memory" else "compiled")
        assert runtime.compile_count == compiled + (route == "client")
        assert (kernel(X)["y"] == X * 3).all()
        assert kernel.reload(weighted(2)) == "cached"
        assert (kernel(X)["y"] == X * 2).all()


def test_a_reload_that_keeps_the_old_weights_is_found_out(runtime: milane.Runtime) -> None:
    with runtime.compile(WEIGHTED, weight_blob=weighted(2)) as kernel:
        with faults("reload.stale", 1):
            assert kernel.reload(weighted(3)) == "compiled"
        assert (kernel(X)["y"] == X * 3).all()


@pytest.mark.parametrize("fault", ["load.always", "compile.failure"])
def test_a_failed_reload_leaves_the_old_weights(fault: str, runtime: milane.Runtime) -> None:
    with runtime.compile(WEIGHTED, weight_blob=weighted(2)) as kernel:
        wanted = {fault: None} if fault == "load.always" else {fault: None, "load.once": 1}
        with faults(wanted), pytest.raises(milane.AneError):
            kernel.reload(weighted(3))
        assert (kernel(X)["y"] == X * 2).all()
        kernel.reload(weighted(4))
        assert (kernel(X)["y"] == X * 4).all()


def test_reload_refuses_weights_that_are_not_the_program_s(runtime: milane.Runtime) -> None:
    with runtime.compile(WEIGHTED, weight_blob=weighted(2)) as kernel:
        with pytest.raises(milane.ModelFileError, match="weight file"):
            kernel.reload()
        assert (kernel(X)["y"] == X * 2).all()


# --- lifetimes


def test_of_two_equal_programs_one_may_go_and_the_other_still_loads(
    runtime: milane.Runtime,
) -> None:
    first = runtime.compile(WEIGHTED, weight_blob=weighted(2))
    second = runtime.compile(WEIGHTED, weight_blob=weighted(2))
    first.close()
    assert second.reload(weighted(5)) == "donor"  # the compiled form is still in the folder
    assert (second(X)["y"] == X * 5).all()
    third = runtime.compile(WEIGHTED, weight_blob=weighted(2))
    second.close()
    assert (third(X)["y"] == X * 2).all()
    third.close()


def test_closing_while_another_thread_evaluates_is_an_error(runtime: milane.Runtime) -> None:
    kernel = runtime.compile(PROGRAM)
    with faults("eval.slow", 300):
        thread = threading.Thread(target=kernel.eval)
        thread.start()
        time.sleep(0.1)
        with pytest.raises(milane.EvalError, match="another thread evaluates"):
            kernel.close()
        thread.join()
    kernel.close()
    with pytest.raises(milane.ClosedError):
        kernel.eval()


def test_evaluations_of_several_kernels_run_at_the_same_time(runtime: milane.Runtime) -> None:
    kernels = [runtime.compile(PROGRAM) for _ in range(8)]
    with faults("eval.slow", 100):
        threads = [threading.Thread(target=kernel.eval) for kernel in kernels]
        start = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - start < 0.1 * len(kernels)
    for kernel in kernels:
        kernel.close()


def test_ten_thousand_evaluations_leave_nothing_behind(runtime: milane.Runtime) -> None:
    with runtime.compile(PROGRAM) as kernel:
        kernel.eval()
        kernel.eval(timeout=10)
        before = _testing.live()
        for _ in range(10_000):
            kernel.eval()
        for _ in range(500):
            kernel.eval(direct=True)
            kernel.eval(timeout=10)
        assert _testing.live() == before


@pytest.mark.parametrize("route", ["memory", "client"])
def test_two_hundred_compiles_and_closes_leave_nothing_behind(
    route: str, runtime: milane.Runtime
) -> None:
    before = _testing.live()
    for i in range(200):
        scale = np.float16(1 + i / 256)
        blob = weighted(float(scale))
        with runtime.compile(WEIGHTED, weight_blob=blob, route=route) as kernel:
            assert (kernel(X)["y"] == X * scale).all()
    del kernel
    _testing.reset()
    gc.collect()
    assert _testing.live() == before


def test_a_slow_compile_holds_nobody_up_who_evaluates(runtime: milane.Runtime) -> None:
    made: list[milane.Kernel] = []
    with runtime.compile(PROGRAM) as kernel, faults("compile.slow", 500):
        thread = threading.Thread(
            target=lambda: made.append(runtime.compile(WEIGHTED, weight_blob=weighted(7)))
        )
        thread.start()
        start = time.monotonic()
        for _ in range(100):
            kernel.eval()
        assert not made
        assert time.monotonic() - start < 0.5
        thread.join()
    made.pop().close()


def test_beyond_the_programs_a_process_may_load_closing_one_helps(
    runtime: milane.Runtime,
) -> None:
    first = runtime.compile(PROGRAM)
    with faults("load.limit", _testing.live()["loaded programs"]):
        with pytest.raises(milane.ModelLoadError) as caught:
            runtime.compile(WEIGHTED, weight_blob=weighted(2))
        assert caught.value.cls == "GetANEFModel"
        assert "close kernels" in caught.value.hint
        first.close()
        with runtime.compile(WEIGHTED, weight_blob=weighted(2)) as kernel:
            assert (kernel(X)["y"] == X * 2).all()


def test_without_a_client_the_standard_path_is_left(runtime: milane.Runtime) -> None:
    with faults({"nil.client": None, "missing.selector": "sharedConnection"}):
        with runtime.compile(PROGRAM) as kernel:
            assert (kernel(X)["y"] == X * 2).all()
            with pytest.raises(milane.UnsupportedSelectorError, match="_ANEClient"):
                kernel.eval(direct=True)
        with pytest.raises(milane.UnsupportedSelectorError, match="_ANEClient"):
            runtime.compile(PROGRAM, route="client")
        with runtime.realtime() as section:
            assert not section.granted


def test_an_event_the_framework_does_not_make_is_an_error(
    runtime: milane.Runtime, lost: dict[str, int]
) -> None:
    event = milane.SharedEvent()
    with faults("nil.event"), pytest.raises(milane.EvalError, match="got nil"):
        milane.SharedEvent()
    with runtime.compile(PROGRAM, route="client") as kernel:
        with faults("nil.event"), pytest.raises(milane.EvalError, match="got nil"):
            kernel.eval_with_signal_event(event, 1)
        kernel.eval_with_signal_event(event, 2)
        assert event.signaled_value == 2
    lost["loaded programs"] = 1  # an unload after it would crash inside the framework


def test_an_event_that_does_not_come_ends_at_the_device_s_patience(
    runtime: milane.Runtime, lost: dict[str, int]
) -> None:
    wait, signal = milane.SharedEvent(), milane.SharedEvent()
    with runtime.compile(PROGRAM, route="client") as kernel:
        with faults("event.timeout", 50), pytest.raises(milane.EvalError) as caught:
            kernel.eval_bidirectional(wait, 1, signal, 1)
        assert caught.value.op == "eval"
        assert signal.signaled_value == 0
        wait.signal(1)
        kernel.eval_bidirectional(wait, 1, signal, 1)
        assert signal.signaled_value == 1
    lost["loaded programs"] = 1  # an unload after it would crash inside the framework


def test_a_constant_the_framework_does_not_export_is_spelt_by_its_name(
    runtime: milane.Runtime, lost: dict[str, int]
) -> None:
    event = milane.SharedEvent()
    with (
        faults("missing.symbol", "kANEFEnableFWToFWSignal"),
        runtime.compile(PROGRAM, route="client") as kernel,
    ):
        kernel.eval_with_signal_event(event, 1)
        assert event.signaled_value == 1
    lost["loaded programs"] = 1  # an unload after it would crash inside the framework


def test_a_system_without_the_framework_has_no_engine() -> None:
    with faults("missing.framework", "AppleNeuralEngine"):
        assert not milane.probe().has_ane
        with pytest.raises(milane.NoANEError, match="cannot be opened"):
            milane.open("ane")


def test_every_fault_is_injected_by_some_test() -> None:
    texts = "".join(
        path.read_text()
        for path in Path(__file__).parent.glob("test_*.py")
        if path.name != "test_emulated_framework.py"  # which tests the faults, not us
    )
    # Made with their stage in this file.
    made = {f"exception.{stage}" for stage in EXCEPTIONS}
    unused = [name for name in faults.known() if f'"{name}"' not in texts and name not in made]
    assert unused == []
