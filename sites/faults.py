"""From what pydantic found in a table to faults that an operator can mend."""

import json
from collections.abc import Mapping
from typing import Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sites.catalogue import nearest
from twin.errors import Fault
from twin.units import Quantity

LONGEST: Final = 60
"""Values longer than this are shortened in messages. [letters]"""

Fields = Mapping[str, object]


def faults_of(
    error: ValidationError, model: type[BaseModel], *, table: Fields, place: str = ""
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

    Returns
    -------
    list of Fault
        In the order of the model's fields.
    """
    return [_fault(item, model, table, place) for item in error.errors()]


def spot(place: str, key: str) -> str:
    """Return how a fault names a key of a table: ``[equipment.ups_1] rating``."""
    return f"[{place}] {key}".strip() if place else key


def written(value: object) -> str:
    """Return a value as it stands in a TOML file, shortened if it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def fields(model: type[BaseModel]) -> dict[str, tuple[object, ...]]:
    """Return the annotations of a model's parameters, with their declarations."""
    return {name: (item.annotation, *item.metadata) for name, item in model.model_fields.items()}


def inner_models(annotation: object) -> list[type[BaseModel]]:
    """Return the models that an annotation may hold, such as both of ``DryCooler | Tower``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in inner_models(part)]


def _fault(item: ErrorDetails, model: type[BaseModel], table: Fields, place: str) -> Fault:
    steps, models = _walk(item["loc"], model, table)
    known = {name: notes for inner in models for name, notes in fields(inner).items()}
    *tables, key = steps or [""]
    where = spot(".".join([place, *tables]).strip("."), key)
    match item["type"]:
        case "extra_forbidden":
            owner = " or ".join(_kind(inner) for inner in models).replace("_", " ")
            mend = f"no such parameter of {owner}{nearest(key, known)}"
            return Fault(place=where, value="", mend=mend)
        case "missing":
            return Fault(place=where, value="", mend=f"is missing{_example(key, known)}")
        case "union_tag_invalid" | "union_tag_not_found":
            kinds = item["ctx"]["expected_tags"]
            return Fault(place=where, value="", mend=f"kind must be one of {kinds}")
    mend = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return Fault(place=where, value=written(item["input"]) if key else "", mend=mend)


def _walk(
    loc: tuple[int | str, ...], model: type[BaseModel], table: Fields
) -> tuple[list[str], list[type[BaseModel]]]:
    """Follow pydantic's steps; return those that stand in the file, and the models at the end."""
    steps: list[str] = []
    models: list[type[BaseModel]] = [model]
    inside: object = table
    for count, step in enumerate(map(str, loc), start=1):
        stands = isinstance(inside, Mapping) and step in inside
        if not stands and count < len(loc):
            models = [inner for inner in models if _kind(inner) == step] or models
            continue  # the kind in a union, or the number of an item in a list
        steps.append(step)
        inside = inside[step] if isinstance(inside, Mapping) and stands else None
        if count < len(loc):
            notes = [fields(inner)[step][0] for inner in models if step in fields(inner)]
            models = [found for note in notes for found in inner_models(note)] or models
    return steps, models


def _kind(model: type[BaseModel]) -> str:
    declared = model.model_fields.get("kind")
    return str(declared.default if declared else getattr(model, "kind", model.__name__.lower()))


def _example(key: str, known: Mapping[str, tuple[object, ...]]) -> str:
    quantities = [note for note in known.get(key, ()) if isinstance(note, Quantity)]
    if not quantities:
        return ""
    quantity = quantities[0]
    value = "1" if quantity.unit == "1" else f'"... {quantity.unit}"'
    return f"; write {key} = {value} ({quantity.meaning})"
