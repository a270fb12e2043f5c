"""One meter and what it should show if the twin were right.

Every channel takes what it draws on as measured, so that each machine is judged by its own meter
and not by the errors of those before it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.calibration.history import History
from twin.equipment import Accelerators, Equipment
from twin.physics import FloatArray
from twin.relations import FEEDS, Convert, SetPoints
from twin.site import Site

METER: Final = 0.003
"""First guess at the standard error of a quarter-hour's mean power, a share; refined later. [1]"""

THERMOMETER: Final = 0.05
"""The same of temperatures. [K]"""

type Offsets = Mapping[str, float]
"""Name of a sensor's offset -> its value. [K]"""


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One meter, and what it should show.

    Attributes
    ----------
    name
        Variable and machine.
    machines
        Whose parameters and offsets it hangs on.
    observed
        What was read, ``(time,)``; NaN where nothing was.
    error
        First guess at its standard error, the errors of what is taken as measured included.
    expect
        (site, offsets) -> what it should show.
    """

    name: str
    machines: tuple[str, ...]
    observed: FloatArray
    error: FloatArray
    expect: Callable[[Site, Offsets], FloatArray]


def drawn(
    machine: Equipment,
    output: FloatArray,
    history: History,
    *,
    carrier: str,
    points: SetPoints | None = None,
) -> FloatArray:
    """Return what a machine draws of a carrier to deliver a measured output.

    Parameters
    ----------
    machine
        A machine that converts.
    output
        What it delivers, ``(time,)``; NaN where it is not known. [MW]
    history
        Gives the weather.
    carrier
        What is drawn.
    points
        What the water was held at; by default the declared set points.

    Returns
    -------
    numpy.ndarray
        Draw; NaN where the output is not known. [MW]
    """
    convert = next(r for r in machine.relations() if isinstance(r, Convert))
    is_known = np.isfinite(output)
    asked = np.where(is_known, output, 0.0)
    if convert.output not in FEEDS:  # what reaches the grid bears power backwards too
        asked = np.maximum(asked, 0.0)
    draws = convert.at(points).physics(asked, history.weather).draws
    return np.where(is_known, draws[carrier], np.nan)


def liquid_heat(site: Site, history: History) -> FloatArray:
    """Return the measured power of the racks that goes into their coolant, ``(time,)``. [MW]"""
    halls = site.of(Accelerators)
    return np.sum([h.liquid_share * history.get("hall_power", h.name) for h in halls], axis=0)


def machine_of[T: Equipment](site: Site, name: str, kind: type[T]) -> T:
    """Return a machine of a kind by its name."""
    return next(machine for machine in site.of(kind) if machine.name == name)
