"""Checks of arguments and datasets that users pass from Python: types, axes and values."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from twin.errors import IssueCode, ProblemError, ValidationIssue
from twin.physics.numerics import BoolArray
from twin.units import format_minute, format_unit
from twin.variables import NUMERIC_KINDS


def axis_issues(
    data: xr.Dataset,
    axes: Mapping[str, Collection[str]],
    location: str,
    *,
    optional: Collection[str] = (),
) -> Iterator[ValidationIssue]:
    """Yield an issue for each variable that has other axes than expected, or holds no real numbers.

    ``axes`` maps the name of a variable to its axes, in any order; it may also have the
    ``optional`` ones.
    """
    for name, expected in axes.items():
        if name not in data:
            continue
        variable, where = data.variables[name], f"{location}, {name}"
        if variable.dtype.kind not in NUMERIC_KINDS:
            yield IssueCode.WRONG_TYPE.issue(
                where,
                found=str(variable.dtype),
                expected="real numbers",
                remedy="convert the variable",
            )
        elif {*variable.dims} - {*optional} != set(expected):
            yield IssueCode.WRONG_AXES.issue(
                where,
                found=f"on {_format_axes(variable.dims)}",
                expected=f"on {_format_axes(expected)}",
                remedy="change the axes of the variable",
            )


def _format_axes(axes: Collection[object]) -> str:
    return " and ".join(map(str, axes)) or "no axis"


_MAX_SHOWN_VALUE_LENGTH: Final = 40
"""Characters of a value that an issue shows. [1]"""

_TYPE_DESCRIPTIONS: Final[Mapping[type, str]] = {
    xr.Dataset: "an xarray.Dataset",
    np.datetime64: "a numpy.datetime64, as twin.to_utc gives it",
    Mapping: "a mapping of names, as {} for none",
    Path: "a pathlib.Path",
}
"""Type -> its description in an issue; others have their own name."""


def type_issues(**arguments: tuple[object, type]) -> Iterator[ValidationIssue]:
    """Yield an issue for each argument, given as (value, type), of another type."""
    for name, (value, kind) in arguments.items():
        if not isinstance(value, kind):
            shown = repr(value)
            if len(shown) > _MAX_SHOWN_VALUE_LENGTH or "\n" in shown:
                shown = type(value).__name__
            yield IssueCode.WRONG_TYPE.issue(
                name,
                found=shown,
                expected=_TYPE_DESCRIPTIONS.get(kind, f"a {kind.__name__} of {kind.__module__}"),
                remedy="pass a value of this type",
            )


def check_argument_types(source: str, **arguments: tuple[object, type]) -> None:
    """Raise a ProblemError with all arguments, given as (value, type), of another type."""
    ProblemError.raise_if_any(source, list(type_issues(**arguments)))


def value_issues(
    array: xr.DataArray,
    wrong: BoolArray,
    *,
    expected: str,
    remedy: str = "correct these values",
    source: str = "outlook",
) -> Iterator[ValidationIssue]:
    """Yield one issue for all wrong values of a variable; it shows the first of them.

    ``wrong`` is a mask on the axes of ``array``, which may lack labels.
    """
    if not wrong.any():
        return
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    location = f"{source}, {array.name}"
    for dim, i in zip(array.dims, first, strict=True):
        if dim in array.coords:
            label = array[dim].to_numpy()[i]
            location += f", {format_minute(label) if isinstance(label, np.datetime64) else label}"
    others = int(wrong.sum()) - 1
    more = f" (and {others} more)" if others else ""
    unit = f" {format_unit(array.attrs.get('units', '1'))}".removesuffix(" 1")
    yield IssueCode.OUT_OF_RANGE.issue(
        location,
        found=f"{array.to_numpy()[first]:.9g}{unit}{more}",
        expected=expected,
        remedy=remedy,
    )


def missing_column_issues(
    columns: Collection[str], wanted: Collection[str]
) -> list[ValidationIssue]:
    """Return an issue for each wanted column that a table lacks."""
    return [
        IssueCode.MISSING.issue(name, expected="a column of this name", remedy="add the column")
        for name in wanted
        if name not in columns
    ]


def negative_value_issues(array: xr.DataArray, *, of: str) -> Iterator[ValidationIssue]:
    """Yield an issue if values of a variable are negative or not finite."""
    values = array.to_numpy()
    wrong = ~(np.isfinite(values) & (values >= 0.0))
    yield from value_issues(array, wrong, source=of, expected="finite values of 0 or more")
