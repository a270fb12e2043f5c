"""Whether what somebody hands in from Python is of the kind that is asked for.

Types tell that to whoever checks them; in a notebook nobody does, and what is None by mistake would
be told as an attribute that it lacks, deep inside.

Where in what is given a value has no sense.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from twin.errors import ProblemError, ValidationIssue
from twin.physics.numerics import BoolArray
from twin.units import format_minute, format_unit
from twin.variables import _NUMBERS


def axis_issues(
    data: xr.Dataset, axes: Mapping[str, Collection[str]], location: str
) -> Iterator[ValidationIssue]:
    """Yield variables that lie on other axes than they should, or hold no real numbers.

    Parameters
    ----------
    data
        What somebody handed in; what it lacks is not told.
    axes
        Name of a variable -> its axes, in whatever order.
    location
        What messages call the dataset.
    """
    for name, wanted in axes.items():
        if name not in data:
            continue
        variable, where = data.variables[name], f"{location}, {name}"
        if variable.dtype.kind not in _NUMBERS:
            yield ValidationIssue(
                location=where, found=str(variable.dtype), remedy="must hold real numbers"
            )
        elif set(variable.dims) != set(wanted):
            shown = f"on {_listed(variable.dims)}"
            yield ValidationIssue(
                location=where, found=shown, remedy=f"must be on {_listed(wanted)}"
            )


def _listed(axes: Collection[object]) -> str:
    return " and ".join(map(str, axes)) or "no axis"


_SHOWN: Final = 40
"""Letters of a value that a fault shows. [1]"""

_WORDS: Final[Mapping[type, str]] = {
    xr.Dataset: "an xarray.Dataset",
    np.datetime64: "a numpy.datetime64, as twin.to_utc gives it",
    Mapping: "a mapping of names, as {} for none",
    Path: "a pathlib.Path",
}
"""Kind -> how a fault calls it; others are called by their own names."""


def type_issues(**given: tuple[object, type]) -> Iterator[ValidationIssue]:
    """Yield what is of another kind than it should be.

    Parameters
    ----------
    **given
        What it is called -> what was handed in, and its kind.
    """
    for name, (value, kind) in given.items():
        if not isinstance(value, kind):
            shown = repr(value)
            if len(shown) > _SHOWN or "\n" in shown:
                shown = type(value).__name__
            remedy = f"must be {_WORDS.get(kind, f'a {kind.__name__} of {kind.__module__}')}"
            yield ValidationIssue(location=name, found=shown, remedy=remedy)


def check_argument_types(source: str, **given: tuple[object, type]) -> None:
    """Refuse what is of another kind than it should be; all faults at once.

    Parameters
    ----------
    source
        Where it was handed in.
    **given
        As :func:`type_issues` takes it.

    Raises
    ------
    ProblemError
        If anything is of another kind.
    """
    if issues := list(type_issues(**given)):
        raise ProblemError(source, issues)


def value_issues(
    array: xr.DataArray, wrong: BoolArray, remedy: str, *, source: str = "outlook"
) -> Iterator[ValidationIssue]:
    """Yield one fault for all wrong values of a word, showing the first of them.

    Parameters
    ----------
    array
        The word, on axes that may lack labels.
    wrong
        Where it is, on the same axes.
    remedy
        What to do about it.
    source
        What was given.
    """
    if not wrong.any():
        return
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = f"{source}, {array.name}"
    for dim, i in zip(array.dims, first, strict=True):
        if dim in array.coords:
            label = array[dim].to_numpy()[i]
            place += f", {format_minute(label) if isinstance(label, np.datetime64) else label}"
    others = int(wrong.sum()) - 1
    more = f" (and {others} more)" if others else ""
    unit = f" {format_unit(array.attrs.get('units', '1'))}".removesuffix(" 1")
    yield ValidationIssue(
        location=place, found=f"{array.to_numpy()[first]:.9g}{unit}{more}", remedy=remedy
    )


def negative_value_issues(array: xr.DataArray, *, of: str) -> Iterator[ValidationIssue]:
    """Yield the fault of a word whose values are not all finite and 0 or more."""
    values = array.to_numpy()
    wrong = ~(np.isfinite(values) & (values >= 0.0))
    yield from value_issues(array, wrong, "must be finite and not negative", source=of)
