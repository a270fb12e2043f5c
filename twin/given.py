"""Whether what somebody hands in from Python is of the kind that is asked for.

Types tell that to whoever checks them; in a notebook nobody does, and what is None by mistake would
be told as an attribute that it lacks, deep inside.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from twin.errors import Fault, ProblemError

_SHOWN: Final = 40
"""Letters of a value that a fault shows. [1]"""

_WORDS: Final[Mapping[type, str]] = {
    xr.Dataset: "an xarray.Dataset",
    np.datetime64: "a numpy.datetime64, as twin.utc gives it",
    Mapping: "a mapping of names, as {} for none",
    Path: "a pathlib.Path",
}
"""Kind -> how a fault calls it; others are called by their own names."""


def unlike(**given: tuple[object, type]) -> Iterator[Fault]:
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
            mend = f"must be {_WORDS.get(kind, f'a {kind.__name__} of {kind.__module__}')}"
            yield Fault(place=name, value=shown, mend=mend)


def check_given(source: str, **given: tuple[object, type]) -> None:
    """Refuse what is of another kind than it should be; all faults at once.

    Parameters
    ----------
    source
        Where it was handed in.
    **given
        As :func:`unlike` takes it.

    Raises
    ------
    ProblemError
        If anything is of another kind.
    """
    if faults := list(unlike(**given)):
        raise ProblemError(source, faults)
