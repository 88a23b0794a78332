"""What every test shares: the runtime under test, and where programs are found."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import milane

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
        help="run the tests of this backend only, of those that have one (repeatable)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--backend") or BACKENDS
        metafunc.parametrize("backend", chosen)


@pytest.fixture
def runtime(backend: str) -> Iterator[milane.Runtime]:
    """An open runtime on the backend under test."""
    with milane.open(backend) as opened:  # type: ignore[arg-type]
        yield opened


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
