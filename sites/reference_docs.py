"""The reference pages, generated from declarations in the code."""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from datetime import date
from itertools import pairwise
from typing import Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sites.catalogue import DESCRIPTIVE_KEYS, TomlTable, machine_families, standard_machines
from sites.schema import model_kind, nested_models
from twin import errors
from twin.errors import IssueCode
from twin.site import EQUIPMENT_KINDS, Site
from twin.units import ParameterDescription, declared_quantity, format_unit

GENERATED_NOTICE = (
    "<!-- Written by `gigatwin sites reference`; change the declarations, not this page. -->"
)

_CITATION: Final = re.compile(r"^ *\.\. (\[\d+\]) (.*?)(?=^ *\.\. \[|\Z)", re.MULTILINE | re.DOTALL)
"""Number and text of a reference in a docstring."""


def reference_pages() -> Mapping[str, str]:
    """Return the text of each generated reference page by its file name."""
    return {
        "equipment.md": _equipment_page(),
        "standard-machines.md": _standard_machines_page(),
        "errors.md": _errors_page(),
    }


def _equipment_page() -> str:
    head = [
        "# Site files: tables and parameters",
        GENERATED_NOTICE,
        'A quantity is written as a text with its unit, such as `"5.2 MW"`; units that convert '
        "are understood, and a bare number is an error unless the unit is 1. Parameters without a "
        "default must be given, by the site or by its `standard` machine.",
        "## The site",
        *_model(Site, title=None),
        "## Machines: tables `[equipment.<name>]`",
    ]
    body = [
        text
        for kind in sorted(EQUIPMENT_KINDS)
        for text in _model(EQUIPMENT_KINDS[kind], title=f"### `{kind}`")
    ]
    parts = [
        text for model in _parts() for text in _model(model, title=f"### `{model_kind(model)}`")
    ]
    return "\n\n".join([*head, *body, "## Tables within tables", *parts]) + "\n"


def _parts() -> list[type[BaseModel]]:
    """Return the models of inner tables, each once, sorted by kind."""
    waiting: list[type[BaseModel]] = [Site, *EQUIPMENT_KINDS.values()]
    found: dict[str, type[BaseModel]] = {}
    while waiting:
        for field in waiting.pop().model_fields.values():
            inner = [m for m in nested_models(field.annotation) if m.model_fields.keys() - {"name"}]
            fresh = [model for model in inner if model_kind(model) not in found]
            found |= {model_kind(model): model for model in fresh}
            waiting += fresh
    return [found[kind] for kind in sorted(found)]


def _model(model: type[BaseModel], *, title: str | None) -> list[str]:
    summary = (model.__doc__ or "").split("\n\n")[0].replace("\n    ", " ").strip()
    rows = [_row(name, field) for name, field in model.model_fields.items() if name != "name"]
    head = ["| parameter | unit | default | bounds | meaning |", "|---|---|---|---|---|"]
    sources = [
        f"- {number} {' '.join(text.split())}"
        for number, text in _CITATION.findall(model.__doc__ or "")
        if any(number in row for row in rows)
    ]
    texts = [summary, "\n".join(head + rows), "\n".join(sources)]
    return [*([title] if title else []), *filter(None, texts)]


def _row(name: str, field: FieldInfo) -> str:
    declared = declared_quantity(field)
    unit = format_unit(declared.unit) if declared else "-"
    meaning = declared.meaning if declared else _description(field)
    bounds = ", ".join(_bounds(field))
    return f"| `{name}` | {unit} | {_default(field)} | {bounds} | {meaning} |"


def _description(field: FieldInfo) -> str:
    """Return the description of a parameter without a quantity, and its shape."""
    meaning = next(
        (one.description for one in field.metadata if isinstance(one, ParameterDescription)), None
    )
    shape = _shape(field.annotation)
    return f"{meaning} ({shape})" if meaning else shape


def _bounds(field: FieldInfo) -> Iterator[str]:
    declared = declared_quantity(field)
    if declared:
        for sign, bound in (
            (">", declared.above),
            ("≥", declared.at_least),
            ("<", declared.below),
            ("≤", declared.at_most),
        ):
            if bound is not None:
                yield f"{sign} {bound:g}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "its defaults"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"{value:g}" if isinstance(value, int | float) else f"`{value}`"


def _shape(annotation: object) -> str:
    """Return the type of a parameter without a quantity as text."""
    inner = nested_models(annotation)
    if inner:
        return "table: " + " or ".join(f"`{model_kind(model)}`" for model in inner)
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{word}`" for word in get_args(annotation))
    if annotation is bool:
        return "`true` or `false`"
    if get_origin(annotation) is tuple:
        names = {str: "list of names", date: "list of dates"}
        return next((names[one] for one in names if one in get_args(annotation)), "list of numbers")
    if date in {annotation, *get_args(annotation)}:
        return "date"
    return "table of numbers" if get_origin(annotation) is Mapping else "text"


def _standard_machines_page() -> str:
    head = [
        "# Standard machines",
        GENERATED_NOTICE,
        'A table of a site file takes their parameters with `standard = "name"`; its own keys '
        "have priority. Every number has a source or is marked as an assumption.",
    ]
    return (
        "\n\n".join([*head, *(text for family in machine_families() for text in _family(family))])
        + "\n"
    )


def _family(family: str) -> Iterator[str]:
    yield f"## `{family}`"
    for name, entry in standard_machines(family).items():
        yield f"### `{name}`"
        yield "\n".join(f"- `{key}` = {_value(entry[key])}" for key in _parameters(entry))
        yield f"Source: {entry['source']}."
        if "note" in entry:
            yield f"Note: {entry['note']}"


def _parameters(entry: TomlTable) -> list[str]:
    return [key for key in entry if key not in DESCRIPTIVE_KEYS]


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _errors_page() -> str:
    """Return the page of all issue codes and of the errors with a fixed default code."""
    codes = [f"| `{code.value}` | {meaning} |" for code, meaning in _code_meanings()]
    exceptions = [
        f"| `{kind.__name__}` | {' '.join(_summary(kind).split())} |" for kind in _error_kinds()
    ]
    return (
        "\n\n".join(
            [
                "# Errors and their codes",
                GENERATED_NOTICE,
                "Every error that a user can cause names location, value found, expected value and "
                "remedy, and ends with a code in brackets. Codes are stable; sentences may change. "
                "JSON output has the code under `code`.",
                "## Codes",
                "\n".join(["| code | meaning |", "|---|---|", *codes]),
                "## Exceptions",
                "All are in `twin.errors` and derive from `GigatwinError`; `code` is an attribute.",
                "\n".join(["| exception | meaning |", "|---|---|", *exceptions]),
            ]
        )
        + "\n"
    )


def _code_meanings() -> Iterator[tuple[IssueCode, str]]:
    """Yield each code and the text below it in its class."""
    (body,) = ast.parse(inspect.getsource(IssueCode)).body
    statements = body.body if isinstance(body, ast.ClassDef) else []
    for code, text in pairwise(statements):
        if isinstance(code, ast.Assign) and isinstance(text, ast.Expr):
            yield IssueCode[ast.unparse(code.targets[0])], ast.literal_eval(text.value)


def _error_kinds() -> list[type[errors.GigatwinError]]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, errors.GigatwinError)]


def _summary(kind: type) -> str:
    return (kind.__doc__ or "").split("\n\n")[0]
