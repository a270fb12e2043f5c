"""Where in what is given a value has no sense."""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from twin.axes import to_minute
from twin.errors import Fault
from twin.physics.numeric import BoolArray
from twin.units import written


def where(
    array: xr.DataArray, wrong: BoolArray, mend: str, *, of: str = "outlook"
) -> Iterator[Fault]:
    """Yield one fault for all wrong values of a word, showing the first of them.

    Parameters
    ----------
    array
        The word, on axes that may lack labels.
    wrong
        Where it is, on the same axes.
    mend
        What to do about it.
    of
        What was given.
    """
    if not wrong.any():
        return
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = f"{of}, {array.name}"
    for dim, i in zip(array.dims, first, strict=True):
        if dim in array.coords:
            label = array[dim].to_numpy()[i]
            place += f", {to_minute(label) if isinstance(label, np.datetime64) else label}"
    others = int(wrong.sum()) - 1
    more = f" (and {others} more)" if others else ""
    unit = f" {written(array.attrs.get('units', '1'))}".removesuffix(" 1")
    yield Fault(place=place, value=f"{array.to_numpy()[first]:.9g}{unit}{more}", mend=mend)


def below_nothing(array: xr.DataArray, *, of: str) -> Iterator[Fault]:
    """Yield the fault of a word whose values are not all finite and 0 or more."""
    values = array.to_numpy()
    wrong = ~(np.isfinite(values) & (values >= 0.0))
    yield from where(array, wrong, "must be finite and not negative", of=of)
