"""What a labelled dataset says of each machine, found by place.

A label that xarray seeks takes ten times as long, and a decision asks some hundreds of times.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final, cast

import numpy as np
import xarray as xr

from twin.errors import Fault
from twin.physics import FloatArray

_TIMES: Final = frozenset({"time", "instant"})

_NUMBERS: Final = "biuf"
"""Kinds of arrays that hold real numbers."""


def off_axes(data: xr.Dataset, axes: Mapping[str, Collection[str]], place: str) -> Iterator[Fault]:
    """Yield variables that lie on other axes than they should, or hold no real numbers.

    Parameters
    ----------
    data
        What somebody handed in; what it lacks is not told.
    axes
        Name of a variable -> its axes, in whatever order.
    place
        What messages call the dataset.
    """
    for name, wanted in axes.items():
        if name not in data:
            continue
        variable, where = data.variables[name], f"{place}, {name}"
        if variable.dtype.kind not in _NUMBERS:
            yield Fault(place=where, value=str(variable.dtype), mend="must hold real numbers")
        elif set(variable.dims) != set(wanted):
            shown = f"on {_listed(variable.dims)}"
            yield Fault(place=where, value=shown, mend=f"must be on {_listed(wanted)}")


def _listed(axes: Collection[object]) -> str:
    return " and ".join(map(str, axes)) or "no axis"


def of_owner(data: xr.Dataset, name: str, owner: str) -> FloatArray:
    """Return what a variable says of one machine, on its other axes, in its own unit.

    Parameters
    ----------
    data
        Holds it, with an axis of labels beside ``time`` or ``instant``.
    name
        The variable.
    owner
        The label.

    Raises
    ------
    KeyError
        If variable or label are not there.
    """
    axis, place = _place(data, name, owner)
    return np.asarray(data.variables[name].to_numpy().take(place, axis), dtype=np.float64)


def set_owner(data: xr.Dataset, name: str, owner: str, *, value: float) -> None:
    """Set what a variable whose only axis is one of labels says of one machine, in its own unit.

    Raises
    ------
    KeyError
        If variable or label are not there.
    """
    _, place = _place(data, name, owner)
    data.variables[name].to_numpy()[place] = value


def values_of(data: xr.Dataset, name: str) -> dict[str, float]:
    """Return a variable whose only axis is one of labels as its values by label.

    Raises
    ------
    KeyError
        If it is not there.
    """
    variable = data.variables[name]
    labels = data.variables[_labelled(variable)].to_index().tolist()
    return dict(zip(map(str, labels), map(float, variable.to_numpy().tolist()), strict=True))


def _place(data: xr.Dataset, name: str, owner: str) -> tuple[int, int]:
    """Return the axis of labels of a variable, and the place of a label on it."""
    variable = data.variables[name]
    dim = _labelled(variable)
    return variable.dims.index(dim), cast(int, data.variables[dim].to_index().get_loc(owner))


def _labelled(variable: xr.Variable) -> str:
    """Return the axis of labels."""
    return next(str(dim) for dim in variable.dims if dim not in _TIMES)
