"""Every name of the map of the systems that Milane replaces: there, with a docstring."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path
from typing import Any

import pytest

import milane
from milane import bridge

ROOT = Path(__file__).resolve().parent.parent
MAP = Path(os.environ.get("MILANE_API_MAP", ROOT.parent / "shared" / "spec" / "api_map.csv"))
if not MAP.is_file():
    pytest.skip("the API map is not here: set MILANE_API_MAP to one", allow_module_level=True)

with MAP.open(newline="") as file:
    ROWS = list(csv.DictReader(file))

PYTHON = sorted({row["python"] for row in ROWS if not row["python"].startswith("C:")})
C_NAMES = sorted({row["python"][2:] for row in ROWS if row["python"].startswith("C:")})


def resolve(name: str) -> Any:
    """The object a dotted name stands for; a field of a dataclass stands for its class."""
    parts = name.split(".")
    assert parts[0] == "milane"
    found: Any = milane
    for part in parts[1:]:
        fields = getattr(found, "__dataclass_fields__", {})
        if part in fields:
            return found
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", PYTHON)
def test_a_name_of_the_map_is_there_and_documented(name: str) -> None:
    assert (resolve(name).__doc__ or "").strip()


@pytest.mark.parametrize("name", C_NAMES)
def test_a_c_function_of_the_map_is_in_the_header(name: str) -> None:
    header = (bridge.include_dir() / "ane_bridge.h").read_text()
    assert re.search(rf"\b{name}\(", header)
