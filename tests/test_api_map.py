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

# Not built yet; each line may only go.
LATER = (
    r"milane\.(train|mil|Graph|PadMode|PadFillMode|cache)\b",
    r"milane\.blob\.(BlobWriter|build_\w+)$",
)


def is_later(name: str) -> bool:
    return any(re.match(pattern, name) for pattern in LATER)


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


@pytest.mark.parametrize("name", [n for n in PYTHON if not is_later(n)])
def test_a_name_of_the_map_is_there_and_documented(name: str) -> None:
    assert (resolve(name).__doc__ or "").strip()


def test_what_is_said_to_come_later_is_not_there_yet() -> None:
    def there(name: str) -> bool:
        try:
            resolve(name)
        except AttributeError:
            return False
        return True

    groups = {pattern: [n for n in PYTHON if re.match(pattern, n)] for pattern in LATER}
    done = [pattern for pattern, names in groups.items() if names and all(map(there, names))]
    assert done == [], "all of it is there: take the line out of LATER"


@pytest.mark.parametrize("name", C_NAMES)
def test_a_c_function_of_the_map_is_in_the_header(name: str) -> None:
    header = (bridge.include_dir() / "ane_bridge.h").read_text()
    assert re.search(rf"\b{name}\(", header)
