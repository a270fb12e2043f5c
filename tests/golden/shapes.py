"""What of a JSON value is kept: keys and types, or numbers; with names as they will be."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

type Shape = dict[str, list[str]]
"""Path of a value, list items as ``[]`` -> sorted names of the types found there."""

_EARLIER = json.loads(Path(__file__).with_name("earlier_names.json").read_text(encoding="utf-8"))

POLICIES: dict[str, str] = _EARLIER["policies"]
"""Earlier name of a policy -> its name."""

KEYS: dict[str, str] = _EARLIER["keys"]
"""Earlier JSON key -> its name."""

VARYING_KEYS = frozenset({"cpu_s", "first_schedule_s", "seconds"})
"""Keys whose numbers are measured times of the machine."""

_STAMP = re.compile(r"\d{4}-\d\d-\d\d(T[\d:.]+(Z|\+00:00)?)?")
_NUMBER = re.compile(r"(?<!/v)(?<!\d)\d+")


def uses_earlier_names(policies: Mapping[str, Any] | None) -> bool:
    """Return whether results hold the policy names of before the renaming.

    ``threshold`` stands in both with different meanings; the planner is in every collected run.
    """
    names = policies or {}
    return "optimal" in names and not {"threshold_capped", "deterministic"} & set(names)


def with_policy_names(value: Any, *, is_earlier: bool) -> Any:
    """Return a JSON value whose keys are the present names of policies and fields."""
    if isinstance(value, dict):
        return {
            renamed(key, is_earlier=is_earlier): with_policy_names(item, is_earlier=is_earlier)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [with_policy_names(item, is_earlier=is_earlier) for item in value]
    return value


def renamed(key: str, *, is_earlier: bool) -> str:
    """Return the present name of a key; a policy may carry a suffix such as ``+prices``."""
    head, plus, tail = key.partition("+")
    named = POLICIES.get(head, head) if is_earlier else head
    return KEYS.get(key, named + plus + tail)


def shape_of(value: Any) -> Shape:
    """Return the keys of a JSON value and the types found at each, without the values."""
    found: dict[str, set[str]] = {}
    for path, kind in _walk(value, ""):
        found.setdefault(path, set()).add(kind)
    return {path: sorted(found[path]) for path in sorted(found)}


def joined(shapes: list[Shape]) -> Shape:
    """Return a shape that holds what any of the shapes holds."""
    paths = sorted({path for shape in shapes for path in shape})
    return {path: sorted({kind for one in shapes for kind in one.get(path, ())}) for path in paths}


def without_null(shape: Shape) -> Shape:
    """Return a shape that does not say where a value may be unknown or absent for the moment."""
    return {path: kinds for path, all_kinds in shape.items() if (kinds := _known(all_kinds))}


def _known(kinds: list[str]) -> list[str]:
    return [kind for kind in kinds if kind != "null"]


def _walk(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield every path of a value with the type found there."""
    if isinstance(value, dict):
        yield path, "object"
        for key, item in value.items():
            yield from _walk(item, f"{path}.{KEYS.get(key, key)}")
    elif isinstance(value, list):
        yield path, "list"
        for item in value:
            yield from _walk(item, f"{path}[]")
    else:
        yield path, _kind(value)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"


def numbers_of(value: Any) -> Any:
    """Return a JSON value with its numbers and times, without texts and measured times."""
    if isinstance(value, dict):
        kept = {key: numbers_of(item) for key, item in value.items() if key not in VARYING_KEYS}
        return {key: item for key, item in sorted(kept.items()) if item is not _TEXT}
    if isinstance(value, list):
        return [item for item in map(numbers_of, value) if item is not _TEXT]
    if isinstance(value, str) and not _STAMP.fullmatch(value):
        return _TEXT
    return value


_TEXT = object()
"""Stands for a text while a value is reduced to its numbers."""


def without_digits(text: str) -> str:
    """Return a text with ``#`` for every number but versions, so that ids and dates are alike."""
    return _NUMBER.sub("#", text)
