"""From what pydantic found in a table to faults that an operator can mend."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Final, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sites.declarations import inner_models, kind_of, quantity
from twin import units
from twin.errors import Fault, nearest

LONGEST: Final = 60
"""Values longer than this are shortened in messages. [letters]"""

LACKS: Final = ("missing", "union_tag_not_found")
"""What pydantic calls a parameter, or a kind, that is not there."""

NO_DAY: Final = (
    "date_type",
    "date_parsing",
    "date_from_datetime_parsing",
    "date_from_datetime_inexact",
)
"""What pydantic calls a value that is no day of the calendar."""

NO_TABLE: Final = ("model_type", "dict_type", "mapping_type")
"""What pydantic calls a value that is no table."""

Fields = Mapping[str, object]


def faults_of(
    error: ValidationError,
    model: type[BaseModel],
    *,
    table: Fields,
    place: str = "",
    unfilled: Collection[str] = (),
) -> list[Fault]:
    """Return the faults of a table, each with its place in the file, its value and its mend.

    Parameters
    ----------
    error
        What pydantic found.
    model
        The model the table was read as.
    table
        The table as it stands in the file.
    place
        Name of the table, such as ``equipment.ups_1``; empty for the file's own keys.
    unfilled
        Names of tables whose standard nobody knows: what they miss follows from that, and is not
        told.

    Returns
    -------
    list of Fault
        In the order of the model's fields.
    """
    found = [(item["type"], _fault(item, model, table, place)) for item in error.errors()]
    return [f for kind, f in found if not (kind in LACKS and _stands_in(f.place, unfilled))]


def _stands_in(place: str, tables: Collection[str]) -> bool:
    """Return whether a fault stands in one of some tables, or in an inner one."""
    return any(place.startswith((f"[{table}]", f"[{table}.")) for table in tables)


def spot(place: str, key: str) -> str:
    """Return how a fault names a key of a table: ``[equipment.ups_1] rating``."""
    return f"[{place}] {key}".strip() if place else key


def written(value: object) -> str:
    """Return a value as it stands in a TOML file, shortened if it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _fault(item: ErrorDetails, model: type[BaseModel], table: Fields, place: str) -> Fault:
    steps, models = _walk(item["loc"], model, table)
    known = {name for inner in models for name in inner.model_fields}
    *tables, key = steps or [""]
    where = spot(".".join([place, *tables]).strip("."), key)
    match item["type"]:
        case "extra_forbidden":
            owner = " or ".join(kind_of(inner) for inner in models).replace("_", " ")
            mend = f"no such parameter of {owner}{nearest(key, known)}"
            return Fault(place=where, value="", mend=mend)
        case "missing":
            return Fault(place=where, value="", mend=f"is missing{_example(key, models)}")
        case "union_tag_invalid" | "union_tag_not_found":
            held = [inner.model_fields[key].annotation for inner in models]
            kinds = ", ".join(kind_of(found) for note in held for found in inner_models(note))
            where = spot(".".join([place, *steps]).strip("."), "kind")
            return Fault(place=where, value="", mend=f"must be one of {kinds}")
    mend = _mend(item)
    if isinstance(item["input"], Mapping):  # a rule of the whole table
        where = spot(".".join([place, *steps]).strip("."), "")
        return Fault(place=where, value="", mend=mend + _values(mend, item["input"]))
    return Fault(place=where, value=written(item["input"]), mend=mend)


def _mend(item: ErrorDetails) -> str:
    """Return the mend of a value, in words of the file and not of Python."""
    if item["type"] in NO_DAY:
        return "write a day without quotes and time, as 2026-01-31"
    if item["type"] == "tuple_type":
        row = "{ ... }" if isinstance(item["input"], Mapping) else written(item["input"])
        return f"several may stand here: write a list in brackets, as [{row}]"
    if item["type"] in NO_TABLE:
        return "write a table here, { key = value, ... }"
    return item["msg"].removeprefix("Value error, ").removeprefix("Input ")


def _values(mend: str, table: Fields) -> str:
    """Return the values of the parameters that a mend names, as far as the table has them."""
    told = [
        f"{key} = {written(value)}"
        for key, value in table.items()
        if isinstance(value, str | int | float) and re.search(rf"\b{re.escape(key)}\b", mend)
    ]
    return f"; here {', '.join(told)}" if told else ""


def _walk(
    loc: tuple[int | str, ...], model: type[BaseModel], table: Fields
) -> tuple[list[str], list[type[BaseModel]]]:
    """Follow pydantic's steps; return those that stand in the file, and the models at the end."""
    steps: list[str] = []
    models: list[type[BaseModel]] = [model]
    inside: object = table
    for count, step in enumerate(map(str, loc), start=1):
        stands = isinstance(inside, Mapping) and step in inside
        is_item = isinstance(inside, list) and step.isdigit()
        if not stands and (is_item or count < len(loc)):
            models = [inner for inner in models if kind_of(inner) == step] or models
            continue  # the kind in a union, or the number of an item in a list
        steps.append(step)
        inside = inside[step] if isinstance(inside, Mapping) and stands else None
        if count < len(loc):
            held = [inner.model_fields[step] for inner in models if step in inner.model_fields]
            models = [found for field in held for found in inner_models(field.annotation)] or models
    return steps, models


def _example(key: str, models: Sequence[type[BaseModel]]) -> str:
    for model in models:
        declared = quantity(model.model_fields[key]) if key in model.model_fields else None
        if declared:
            value = "1" if declared.unit == "1" else f'"... {units.written(declared.unit)}"'
            return f"; write {key} = {value} ({declared.meaning})"
        if key in model.model_fields:
            note = model.model_fields[key].annotation
            return (
                f"; write a table [{key}]" if inner_models(note) else f"; write {_blank(note, key)}"
            )
    return ""


def _blank(note: object, key: str) -> str:
    """Return how a parameter without unit is written, by what it holds."""
    holds = get_args(note)
    if get_origin(note) is Literal:
        return f"{key} = {' or '.join(map(written, holds))}"
    if get_origin(note) is tuple and str in holds:
        return f"{key} = [{', '.join(len(holds) * ['"..."'])}]"
    if get_origin(note) is tuple:
        count = "" if ... in holds else f"{len(holds)} "
        return f"{key} = [...] with {count}numbers"
    if get_origin(note) is Mapping:
        return f"{key} = {{ ... = 1.0 }}"
    return f"{key} = 2026-01-31, or the day that it is" if note is date else f'{key} = "..."'
