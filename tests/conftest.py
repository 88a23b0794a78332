"""What every test shares: the runtime under test, and where programs are found."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import milane
from milane import _testing
from on_device import NOT_EMULATED, Both, open_backend

# The same examples every time: a change is never failed by another's luck.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

# The backends whose tests run here: the device's own is one where it answers, which it also does
# where it is emulated.
BACKENDS = ["host", "ane"] if milane.probe().has_ane else ["host"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        choices=["host", "ane"],
        help="run only the tests that drive this backend (repeatable); the others need no backend",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--backend") or BACKENDS
        metafunc.parametrize("backend", chosen)


# What drives a backend: these fixtures, and the controls of the emulated device.
BACKEND_FIXTURES = {"host": {"host_runtime"}, "ane": {"ane_runtime", "both"}}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = config.getoption("--backend")
    if not chosen:
        return
    own = set().union(*(BACKEND_FIXTURES[name] for name in chosen), {"backend"})

    def is_chosen(item: pytest.Item) -> bool:
        if not own.isdisjoint(getattr(item, "fixturenames", ())):
            return True
        return "ane" in chosen and hasattr(getattr(item, "module", None), "_testing")

    config.hook.pytest_deselected(items=[i for i in items if not is_chosen(i)])
    items[:] = [i for i in items if is_chosen(i)]


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's own cache is neither read nor written; subprocesses inherit this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILANE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("MILANE_CACHE", raising=False)
        patch.delenv("MILANE_CACHE_SIZE", raising=False)
        yield


@pytest.fixture
def runtime(backend: str) -> Iterator[milane.Runtime]:
    """An open runtime on the backend under test."""
    with open_backend(backend) as opened:
        yield opened


@pytest.fixture
def host_runtime() -> Iterator[milane.Runtime]:
    """The host engine, for what it alone has: plans, numerics, steps, states."""
    with open_backend("host") as opened:
        yield opened


@pytest.fixture
def ane_runtime() -> Iterator[milane.Runtime]:
    """The device, real or emulated, for what it alone has; skipped where it is not."""
    if "ane" not in BACKENDS:
        pytest.skip(NO_ANE)
    with open_backend("ane") as opened:
        yield opened


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    """The host engine and the emulated device, open for all tests of a module."""
    if not _testing.available():
        pytest.skip(NOT_EMULATED)
    with open_backend("host") as host, open_backend("ane") as ane:
        yield Both(host, ane)


NO_ANE = "there is no Neural Engine here, nor an emulated one"


@pytest.fixture(autouse=True)
def _no_compile_is_used_up() -> None:
    """Compiles on the device are the process's: whoever opens it plainly has its whole budget."""
    if "ane" in BACKENDS:
        with milane.open("ane") as opened:
            opened.reset_compile_count()


def corpus_folder() -> Path | None:
    """The collection of programs by other authors, or None where it is not."""
    folder = Path(os.environ.get("MILANE_CORPUS", ROOT.parent / "shared" / "corpus"))
    return folder if (folder / "real").is_dir() else None


NO_CORPUS = "the corpus folder is not here: set MILANE_CORPUS to one"


@pytest.fixture
def corpus() -> Path:
    """The corpus folder; the test is skipped where there is none."""
    folder = corpus_folder()
    if folder is None:
        pytest.skip(NO_CORPUS)
    return folder
