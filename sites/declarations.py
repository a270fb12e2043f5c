"""What the models of a site declare: parameters, quantities, inner tables."""

import re
from collections.abc import Mapping
from datetime import date
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from twin.units import Quantity, written


def quantity(field: FieldInfo) -> Quantity | None:
    """Return the declared quantity of a parameter, or None if it has none."""
    return _quantity((field.annotation, *field.metadata))


def parameters(table: BaseModel, *, only_set: bool = False) -> Mapping[str, object]:
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
    kind = {"kind": kind_of(type(table))} if hasattr(table, "kind") else {}
    return kind | {
        name: _written(getattr(table, name), quantity(field), only_set)
        for name, field in type(table).model_fields.items()
        if name != "name" and (name in table.model_fields_set or not only_set)
    }


def inner_models(annotation: object) -> list[type[BaseModel]]:
    """Return the models that an annotation may hold, such as both of ``DryCooler | Tower``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in inner_models(part)]


def kind_of(model: type[BaseModel]) -> str:
    """Return the word under which site files or people know a model."""
    declared = model.model_fields.get("kind")
    kind = declared.default if declared else getattr(model, "kind", "")
    if isinstance(kind, str) and kind:  # a route has a kind of work, which is no word for it
        return kind
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", model.__name__).lower()


def _written(value: object, declared: Quantity | None, only_set: bool) -> object:
    if isinstance(value, BaseModel):
        return parameters(value, only_set=only_set)
    if isinstance(value, Mapping):
        return {key: _written(inner, None, only_set) for key, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(_row(inner, only_set) for inner in value)
    if isinstance(value, date):
        return value.isoformat()
    if declared and declared.unit != "1" and value is not None:
        return f"{value:.6g} {written(declared.unit)}"
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
