"""Compare two collections of facts and name every difference."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

type Mode = Literal["exact", "stored"]
"""``exact``: two checkouts on one machine, bit for bit. ``stored``: against the kept files."""

RELATIVE = 1e-9
"""Relative tolerance of numbers in the mode ``stored``."""

ABSOLUTE = 1e-9
"""Absolute tolerance of numbers there: sums that cancel are near zero."""

ABSENT = "absent"
"""Stands for a value that one side lacks."""

LARGEST_BYTES = 200_000
"""Size that a stored file must not exceed. [B]"""


@dataclass(frozen=True)
class Difference:
    """A place where two collections differ, with the value of each."""

    path: str
    expected: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.path}: expected {_short(self.expected)}, found {_short(self.found)}"


def compare(expected: Mapping[str, Any], found: Mapping[str, Any], mode: Mode) -> list[Difference]:
    """Return the differences of two collections; in the mode ``stored`` of their unique parts."""
    if mode == "stored":
        expected = {name: facts["unique"] for name, facts in expected.items()}
        found = {name: facts["unique"] for name, facts in found.items()}
    return list(_differences(expected, found, "", mode))


def _differences(expected: Any, found: Any, path: str, mode: Mode) -> Iterator[Difference]:
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in sorted({*expected, *found}):
            inner = f"{path}/{key}" if path else str(key)
            pair = expected.get(key, ABSENT), found.get(key, ABSENT)
            yield from _differences(*pair, inner, mode)
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for place, pair in enumerate(zip(expected, found, strict=True)):
            yield from _differences(*pair, f"{path}[{place}]", mode)
    elif not _is_same(expected, found, mode):
        yield Difference(path, expected, found)


def _is_same(expected: Any, found: Any, mode: Mode) -> bool:
    """Return whether two values are the same; an integer and a float are alike if equal."""
    numbers = [value for value in (expected, found) if _is_number(value)]
    if len(numbers) != 2:
        return type(expected) is type(found) and bool(expected == found)
    first, second = map(float, numbers)
    if math.isnan(first) or math.isnan(second):
        return math.isnan(first) and math.isnan(second)
    if mode == "exact":
        return first == second
    return math.isclose(first, second, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 160 else f"{text[:157]}..."


def read_stored(folder: Path, name: str) -> dict[str, Any]:
    """Return the stored facts of a collector.

    Raises
    ------
    FileNotFoundError
        If the collector has no stored file.
    """
    unique = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return {"unique": unique, "machine": {}}


def write_stored(folder: Path, name: str, facts: Mapping[str, Any]) -> Path:
    """Write what is unique of a collector's facts; return the file.

    Raises
    ------
    ValueError
        If the file would exceed :data:`LARGEST_BYTES`.
    """
    path = folder / f"{name}.json"
    text = "\n".join(_lines(facts["unique"])) + "\n"
    if len(text.encode()) > LARGEST_BYTES:
        message = f"{path.name}: {len(text.encode())} B; expected {LARGEST_BYTES} B at most"
        raise ValueError(message)
    path.write_text(text, encoding="utf-8")
    return path


def _lines(value: Any, depth: int = 0) -> list[str]:
    """Return JSON with one short value a line, so that a change reads well in a diff."""
    flat = json.dumps(value, ensure_ascii=False, sort_keys=True)
    if not isinstance(value, dict) or len(flat) + depth <= 96:
        return [flat]
    lines = ["{"]
    items = sorted(value.items())
    for place, (key, item) in enumerate(items):
        first, *others = _lines(item, depth + 1)
        comma = "," if place < len(items) - 1 else ""
        lines.append(f" {json.dumps(key, ensure_ascii=False)}: {first}")
        lines += [f" {line}" for line in others]
        lines[-1] += comma
    return [*lines, "}"]
