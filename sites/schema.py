"""Parameters that the models of a site declare, and issues from the errors that pydantic finds."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Final, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from twin import units
from twin.errors import IssueCode, ValidationIssue
from twin.text import closest_match_hint
from twin.units import Quantity, declared_quantity, format_unit


def declared_values(table: BaseModel, *, only_set: bool = False) -> Mapping[str, object]:
    """Return the values of a table as in a site file.

    Parameters
    ----------
    table
        A site, a machine, or a part of one.
    only_set
        Omit parameters that the file leaves at their default.

    Returns
    -------
    Mapping
        Parameter -> number, text with unit, day as text, inner table or rows of these.
    """
    kind = {"kind": model_kind(type(table))} if hasattr(table, "kind") else {}
    return kind | {
        name: _file_value(getattr(table, name), declared_quantity(field), only_set)
        for name, field in type(table).model_fields.items()
        if name != "name" and (name in table.model_fields_set or not only_set)
    }


def nested_models(annotation: object) -> list[type[BaseModel]]:
    """Return the models in an annotation, such as both of ``DryCooler | Tower``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in nested_models(part)]


def model_kind(model: type[BaseModel]) -> str:
    """Return the kind of a model in site files and documents."""
    declared = model.model_fields.get("kind")
    kind = declared.default if declared else getattr(model, "kind", "")
    if isinstance(kind, str) and kind:  # the kind of a route is a kind of work
        return kind
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", model.__name__).lower()


def _file_value(value: object, declared: Quantity | None, only_set: bool) -> object:
    if isinstance(value, BaseModel):
        return declared_values(value, only_set=only_set)
    if isinstance(value, Mapping):
        return {key: _file_value(inner, None, only_set) for key, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(_row(inner, only_set) for inner in value)
    if isinstance(value, date):
        return value.isoformat()
    if declared and declared.unit != "1" and value is not None:
        return f"{value:.6g} {format_unit(declared.unit)}"
    return value


def _row(value: object, only_set: bool) -> object:
    """Return an entry of a list; a table in it has its name as a key."""
    entry = _file_value(value, None, only_set)
    if isinstance(entry, dict) and hasattr(value, "name"):
        return {"name": value.name, **entry}
    return entry


MAX_SHOWN_QUANTITY_LENGTH: Final = 60
"""Maximum length of a value in messages. [characters]"""

MISSING_ERROR_TYPES: Final = ("missing", "union_tag_not_found")
"""Pydantic's error types of a missing parameter or kind."""

DATE_ERROR_TYPES: Final = (
    "date_type",
    "date_parsing",
    "date_from_datetime_parsing",
    "date_from_datetime_inexact",
)
"""Pydantic's error types of a value that is not a date."""

TABLE_ERROR_TYPES: Final = ("model_type", "dict_type", "mapping_type")
"""Pydantic's error types of a value that is not a table."""

TableValues = Mapping[str, object]


def _value_code(item: ErrorDetails) -> IssueCode:
    """Return the code of a value; `twin.units` raises errors whose type is a code."""
    if item["type"] in set(IssueCode):
        return IssueCode(item["type"])
    is_type = item["type"] in {*DATE_ERROR_TYPES, *TABLE_ERROR_TYPES, "tuple_type"}
    return IssueCode.WRONG_TYPE if is_type else IssueCode.OUT_OF_RANGE


def issues_from_pydantic(
    error: ValidationError,
    model: type[BaseModel],
    *,
    table: TableValues,
    location: str = "",
    unfilled: Collection[str] = (),
) -> list[ValidationIssue]:
    """Return the issues of a table, except missing keys in ``unfilled`` tables."""
    found = [(item["type"], _issue(item, model, table, location)) for item in error.errors()]
    return [
        f
        for kind, f in found
        if not (kind in MISSING_ERROR_TYPES and _is_inside(f.location, unfilled))
    ]


def _is_inside(location: str, tables: Collection[str]) -> bool:
    """Return whether a location is in one of the tables, or in an inner table."""
    return any(location.startswith((f"[{table}]", f"[{table}.")) for table in tables)


def key_location(location: str, key: str) -> str:
    """Return the location of a key in a table: ``[equipment.ups_1] rating``."""
    return f"[{location}] {key}".strip() if location else key


def toml_value_text(value: object) -> str:
    """Return a value as in a TOML file, shortened if it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return (
        text
        if len(text) <= MAX_SHOWN_QUANTITY_LENGTH
        else f"{text[: MAX_SHOWN_QUANTITY_LENGTH - 3]}..."
    )


def _issue(
    item: ErrorDetails, model: type[BaseModel], table: TableValues, location: str
) -> ValidationIssue:
    steps, models = _walk(item["loc"], model, table)
    known = {name for inner in models for name in inner.model_fields}
    *tables, key = steps or [""]
    where = key_location(".".join([location, *tables]).strip("."), key)
    match item["type"]:
        case "extra_forbidden":
            owner = " or ".join(model_kind(inner) for inner in models).replace("_", " ")
            remedy = f"remove the key{closest_match_hint(key, known)}"
            return IssueCode.UNKNOWN_KEY.issue(
                where, expected=f"a parameter of {owner}", remedy=remedy
            )
        case "missing":
            return IssueCode.MISSING.issue(where, expected="a value", remedy=_example(key, models))
        case "union_tag_invalid" | "union_tag_not_found":
            annotations = [inner.model_fields[key].annotation for inner in models]
            kinds = ", ".join(
                model_kind(found) for note in annotations for found in nested_models(note)
            )
            where = key_location(".".join([location, *steps]).strip("."), "kind")
            return IssueCode.UNKNOWN_NAME.issue(
                where, expected=f"one of {kinds}", remedy="write one of these kinds"
            )
    remedy = _remedy(item)
    if isinstance(item["input"], Mapping):  # a rule of a whole table
        where = key_location(".".join([location, *steps]).strip("."), "")
        return IssueCode.INCONSISTENT.issue(
            where, expected="values that agree", remedy=remedy + _values(remedy, item["input"])
        )
    is_rule = remedy.startswith(("must ", "should "))
    return ValidationIssue(
        code=_value_code(item),
        location=where,
        found=toml_value_text(item["input"]),
        expected=remedy if is_rule else "a valid value",
        remedy="correct the value" if is_rule else remedy,
    )


def _remedy(item: ErrorDetails) -> str:
    """Return the remedy of a value in terms of the file."""
    if item["type"] in DATE_ERROR_TYPES:
        return "write a date without quotes and time, as 2026-01-31"
    if item["type"] == "tuple_type":
        row = "{ ... }" if isinstance(item["input"], Mapping) else toml_value_text(item["input"])
        return f"write a list in brackets, as [{row}]"
    if item["type"] in TABLE_ERROR_TYPES:
        return "write a table, { key = value, ... }"
    return item["msg"].removeprefix("Value error, ").removeprefix("Input ")


def _values(remedy: str, table: TableValues) -> str:
    """Return the values of the parameters that a remedy names."""
    shown = [
        f"{key} = {toml_value_text(value)}"
        for key, value in table.items()
        if isinstance(value, str | int | float) and re.search(rf"\b{re.escape(key)}\b", remedy)
    ]
    return f"; found {', '.join(shown)}" if shown else ""


def _walk(
    loc: tuple[int | str, ...], model: type[BaseModel], table: TableValues
) -> tuple[list[str], list[type[BaseModel]]]:
    """Return the keys of pydantic's location that are in the file, and the models at its end."""
    steps: list[str] = []
    models: list[type[BaseModel]] = [model]
    inside: object = table
    for count, step in enumerate(map(str, loc), start=1):
        is_key = isinstance(inside, Mapping) and step in inside
        is_item = isinstance(inside, list) and step.isdigit()
        if not is_key and (is_item or count < len(loc)):
            models = [inner for inner in models if model_kind(inner) == step] or models
            continue  # the kind in a union, or the number of an item in a list
        steps.append(step)
        inside = inside[step] if isinstance(inside, Mapping) and is_key else None
        if count < len(loc):
            fields = [inner.model_fields[step] for inner in models if step in inner.model_fields]
            models = [
                found for field in fields for found in nested_models(field.annotation)
            ] or models
    return steps, models


def _example(key: str, models: Sequence[type[BaseModel]]) -> str:
    for model in models:
        declared = declared_quantity(model.model_fields[key]) if key in model.model_fields else None
        if declared:
            value = "1" if declared.unit == "1" else f'"... {units.format_unit(declared.unit)}"'
            return f"write {key} = {value} ({declared.meaning})"
        if key in model.model_fields:
            note = model.model_fields[key].annotation
            return f"write a table [{key}]" if nested_models(note) else f"write {_blank(note, key)}"
    return "write the key"


def _blank(note: object, key: str) -> str:
    """Return an example of a parameter without unit, by its type."""
    arguments = get_args(note)
    if get_origin(note) is Literal:
        return f"{key} = {' or '.join(map(toml_value_text, arguments))}"
    if get_origin(note) is tuple and str in arguments:
        return f"{key} = [{', '.join(len(arguments) * ['"..."'])}]"
    if get_origin(note) is tuple:
        count = "" if ... in arguments else f"{len(arguments)} "
        return f"{key} = [...] with {count}numbers"
    if get_origin(note) is Mapping:
        return f"{key} = {{ ... = 1.0 }}"
    return f"{key} = 2026-01-31" if note is date else f'{key} = "..."'
