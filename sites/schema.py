"""From what pydantic found in a table to faults that an operator can remedy.

What the models of a site declare: parameters, quantities, inner tables.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Final, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from twin import units
from twin.errors import ValidationIssue
from twin.text import closest_match_hint
from twin.units import Quantity, format_unit


def declared_quantity(field: FieldInfo) -> Quantity | None:
    """Return the declared quantity of a parameter, or None if it has none."""
    return _quantity((field.annotation, *field.metadata))


def declared_values(table: BaseModel, *, only_set: bool = False) -> Mapping[str, object]:
    """Return the values of a table as they would stand in a file.

    Parameters
    ----------
    table
        A site, a machine, or a part of one.
    only_set
        Leave out what the file leaves at its default.

    Returns
    -------
    Mapping
        Parameter -> number, text with unit, day as text, or the like of an inner table or of rows.
    """
    kind = {"kind": model_kind(type(table))} if hasattr(table, "kind") else {}
    return kind | {
        name: _written(getattr(table, name), declared_quantity(field), only_set)
        for name, field in type(table).model_fields.items()
        if name != "name" and (name in table.model_fields_set or not only_set)
    }


def nested_models(annotation: object) -> list[type[BaseModel]]:
    """Return the models that an annotation may hold, such as both of ``DryCooler | Tower``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in nested_models(part)]


def model_kind(model: type[BaseModel]) -> str:
    """Return the word under which site files or people know a model."""
    declared = model.model_fields.get("kind")
    kind = declared.default if declared else getattr(model, "kind", "")
    if isinstance(kind, str) and kind:  # a route has a kind of work, which is no word for it
        return kind
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", model.__name__).lower()


def _written(value: object, declared: Quantity | None, only_set: bool) -> object:
    if isinstance(value, BaseModel):
        return declared_values(value, only_set=only_set)
    if isinstance(value, Mapping):
        return {key: _written(inner, None, only_set) for key, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(_row(inner, only_set) for inner in value)
    if isinstance(value, date):
        return value.isoformat()
    if declared and declared.unit != "1" and value is not None:
        return f"{value:.6g} {format_unit(declared.unit)}"
    return value


def _row(value: object, only_set: bool) -> object:
    """Return what stands in a list; a table in one has no name but its own."""
    told = _written(value, None, only_set)
    if isinstance(told, dict) and hasattr(value, "name"):
        return {"name": value.name, **told}
    return told


def _quantity(notes: tuple[object, ...]) -> Quantity | None:
    """Return the first quantity, also of ``Annotated[float, Quantity(...)] | None``."""
    for note in notes:
        found = note if isinstance(note, Quantity) else _quantity(get_args(note))
        if found:
            return found
    return None


MAX_SHOWN_LENGTH: Final = 60
"""Values longer than this are shortened in messages. [letters]"""

MISSING_ERROR_TYPES: Final = ("missing", "union_tag_not_found")
"""What pydantic calls a parameter, or a kind, that is not there."""

DATE_ERROR_TYPES: Final = (
    "date_type",
    "date_parsing",
    "date_from_datetime_parsing",
    "date_from_datetime_inexact",
)
"""What pydantic calls a value that is no day of the calendar."""

TABLE_ERROR_TYPES: Final = ("model_type", "dict_type", "mapping_type")
"""What pydantic calls a value that is no table."""

TableValues = Mapping[str, object]


def issues_from_pydantic(
    error: ValidationError,
    model: type[BaseModel],
    *,
    table: TableValues,
    location: str = "",
    unfilled: Collection[str] = (),
) -> list[ValidationIssue]:
    """Return the faults of a table, each with its place in the file, its value and its remedy."""
    found = [(item["type"], _fault(item, model, table, location)) for item in error.errors()]
    return [
        f
        for kind, f in found
        if not (kind in MISSING_ERROR_TYPES and _stands_in(f.location, unfilled))
    ]


def _stands_in(place: str, tables: Collection[str]) -> bool:
    """Return whether a fault stands in one of some tables, or in an inner one."""
    return any(place.startswith((f"[{table}]", f"[{table}.")) for table in tables)


def key_location(location: str, key: str) -> str:
    """Return how a fault names a key of a table: ``[equipment.ups_1] rating``."""
    return f"[{location}] {key}".strip() if location else key


def toml_text(value: object) -> str:
    """Return a value as it stands in a TOML file, shortened if it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN_LENGTH else f"{text[: MAX_SHOWN_LENGTH - 3]}..."


def _fault(
    item: ErrorDetails, model: type[BaseModel], table: TableValues, place: str
) -> ValidationIssue:
    steps, models = _walk(item["loc"], model, table)
    known = {name for inner in models for name in inner.model_fields}
    *tables, key = steps or [""]
    where = key_location(".".join([place, *tables]).strip("."), key)
    match item["type"]:
        case "extra_forbidden":
            owner = " or ".join(model_kind(inner) for inner in models).replace("_", " ")
            remedy = f"no such parameter of {owner}{closest_match_hint(key, known)}"
            return ValidationIssue(location=where, found="", remedy=remedy)
        case "missing":
            return ValidationIssue(
                location=where, found="", remedy=f"is missing{_example(key, models)}"
            )
        case "union_tag_invalid" | "union_tag_not_found":
            held = [inner.model_fields[key].annotation for inner in models]
            kinds = ", ".join(model_kind(found) for note in held for found in nested_models(note))
            where = key_location(".".join([place, *steps]).strip("."), "kind")
            return ValidationIssue(location=where, found="", remedy=f"must be one of {kinds}")
    remedy = _mend(item)
    if isinstance(item["input"], Mapping):  # a rule of the whole table
        where = key_location(".".join([place, *steps]).strip("."), "")
        return ValidationIssue(
            location=where, found="", remedy=remedy + _values(remedy, item["input"])
        )
    return ValidationIssue(location=where, found=toml_text(item["input"]), remedy=remedy)


def _mend(item: ErrorDetails) -> str:
    """Return the remedy of a value, in words of the file and not of Python."""
    if item["type"] in DATE_ERROR_TYPES:
        return "write a day without quotes and time, as 2026-01-31"
    if item["type"] == "tuple_type":
        row = "{ ... }" if isinstance(item["input"], Mapping) else toml_text(item["input"])
        return f"several may stand here: write a list in brackets, as [{row}]"
    if item["type"] in TABLE_ERROR_TYPES:
        return "write a table here, { key = value, ... }"
    return item["msg"].removeprefix("Value error, ").removeprefix("Input ")


def _values(remedy: str, table: TableValues) -> str:
    """Return the values of the parameters that a remedy names, as far as the table has them."""
    told = [
        f"{key} = {toml_text(value)}"
        for key, value in table.items()
        if isinstance(value, str | int | float) and re.search(rf"\b{re.escape(key)}\b", remedy)
    ]
    return f"; here {', '.join(told)}" if told else ""


def _walk(
    loc: tuple[int | str, ...], model: type[BaseModel], table: TableValues
) -> tuple[list[str], list[type[BaseModel]]]:
    """Follow pydantic's steps; return those that stand in the file, and the models at the end."""
    steps: list[str] = []
    models: list[type[BaseModel]] = [model]
    inside: object = table
    for count, step in enumerate(map(str, loc), start=1):
        stands = isinstance(inside, Mapping) and step in inside
        is_item = isinstance(inside, list) and step.isdigit()
        if not stands and (is_item or count < len(loc)):
            models = [inner for inner in models if model_kind(inner) == step] or models
            continue  # the kind in a union, or the number of an item in a list
        steps.append(step)
        inside = inside[step] if isinstance(inside, Mapping) and stands else None
        if count < len(loc):
            held = [inner.model_fields[step] for inner in models if step in inner.model_fields]
            models = [
                found for field in held for found in nested_models(field.annotation)
            ] or models
    return steps, models


def _example(key: str, models: Sequence[type[BaseModel]]) -> str:
    for model in models:
        declared = declared_quantity(model.model_fields[key]) if key in model.model_fields else None
        if declared:
            value = "1" if declared.unit == "1" else f'"... {units.format_unit(declared.unit)}"'
            return f"; write {key} = {value} ({declared.meaning})"
        if key in model.model_fields:
            note = model.model_fields[key].annotation
            return (
                f"; write a table [{key}]"
                if nested_models(note)
                else f"; write {_blank(note, key)}"
            )
    return ""


def _blank(note: object, key: str) -> str:
    """Return how a parameter without unit is written, by what it holds."""
    holds = get_args(note)
    if get_origin(note) is Literal:
        return f"{key} = {' or '.join(map(toml_text, holds))}"
    if get_origin(note) is tuple and str in holds:
        return f"{key} = [{', '.join(len(holds) * ['"..."'])}]"
    if get_origin(note) is tuple:
        count = "" if ... in holds else f"{len(holds)} "
        return f"{key} = [...] with {count}numbers"
    if get_origin(note) is Mapping:
        return f"{key} = {{ ... = 1.0 }}"
    return f"{key} = 2026-01-31, or the day that it is" if note is date else f'{key} = "..."'
