"""The limits of a site, and what of a run lies beyond them: one judge for plans and for plants."""

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import xarray as xr

from twin import axes
from twin.equipment import Accelerators, CoolingPlant, HallAir, Switchgear, Transformer, Ups
from twin.errors import Fault, StateError
from twin.exchange import net_import
from twin.given import check_given
from twin.labels import of_owner
from twin.physics import FloatArray
from twin.site import Site

SHARE_BEYOND = 1e-3
"""A power, level or loading beyond its limit by less than this share of it is no violation. [1]"""

LEAST_SPAN = 1e-3
"""A limit of zero is judged as if it were this far from it: what is less is rounding. [MW]"""

KELVIN_BEYOND = 0.05
"""A temperature beyond its limit by less than this is no violation. [K]"""


RAMP: Final = "ramp of grid_import_power"
"""What the ramp of the connection is called among limits."""

TRANSITION: Final = 10.0
"""Time in which a plant goes over to new set points; plans and verdicts count on it. [min]"""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One hard limit.

    Attributes
    ----------
    variable
        Word of the vocabulary that is limited.
    owner
        Label of the machine, or "" for the site as a whole.
    dim
        Axis of the owner, or "".
    low, high
        The limit, in the variable's unit.
    margin
        What a plan keeps free: ``power``, ``temperature`` or ``level`` of the site's margins.
    """

    variable: str
    owner: str = ""
    dim: str = ""
    low: float = -np.inf
    high: float = np.inf
    margin: Literal["power", "temperature", "level"]

    @property
    def name(self) -> str:
        """Name for people: the variable and its machine."""
        return f"{self.variable} of {self.owner}" if self.owner else self.variable

    def values(self, result: xr.Dataset) -> FloatArray:
        """Return the limited values of a run, stocks at the ends of the intervals."""
        array = result.variables[self.variable]
        values = of_owner(result, self.variable, self.owner) if self.dim else array.to_numpy()
        return np.asarray(values[1:] if "instant" in array.dims else values)

    def beyond(self, result: xr.Dataset, *, keep: float = 0.0) -> FloatArray:
        """Return by how much each interval lies beyond the limit, in tolerances; 1 is a violation.

        Parameters
        ----------
        result
            A run of the twin or of a plant.
        keep
            Distance to keep from the limit: K for temperatures, else a share of the limit.

        Returns
        -------
        numpy.ndarray
            Excess over the tolerance, ``(time,)``; at most 1 where the limit is kept. [1]
        """
        values = self.values(result)
        span = max(abs(bound) for bound in (self.low, self.high) if np.isfinite(bound))
        is_kelvin = self.margin == "temperature"
        tolerance = KELVIN_BEYOND if is_kelvin else SHARE_BEYOND * max(span, LEAST_SPAN)
        held = keep if is_kelvin else keep * span
        over = values - (self.high - held)
        under = (self.low + held) - values
        return np.asarray(np.maximum(over, under) / tolerance)


def limits(site: Site) -> tuple[Limit, ...]:
    """Return every hard limit of a site but the ramp, which :func:`violations` judges by itself."""
    grid = site.grid
    found = [
        Limit(variable="grid_import_power", high=grid.import_limit, margin="power"),
        Limit(variable="grid_export_power", high=grid.export_limit, margin="power"),
    ]
    for machine in (*site.of(Transformer), *site.of(Switchgear), *site.of(Ups)):
        kind = machine.kind
        one = _of(f"{kind}_loading", machine.name, kind, 1.0, "power")
        found.append(replace(one, low=-1.0))  # what a site exports runs backwards
    for plant in site.of(CoolingPlant):
        variable, high = "facility_supply_temperature", plant.supply_limit
        found.append(_of(variable, plant.name, "circuit", high, "temperature"))
    for hall in site.of(Accelerators):
        high = hall.chip_temperature_limit
        found.append(_of("chip_temperature", hall.name, "hall", high, "temperature"))
        found.append(_of("hall_power", hall.name, "hall", hall.full_power, "power"))
        for air in site.of(HallAir):
            high = hall.inlet_temperature_limit
            found.append(_of("rack_inlet_temperature", air.name, "hall_air", high, "temperature"))
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        found.append(
            Limit(
                variable=f"{kind}_level",
                owner=store.owner,
                dim=kind,
                low=store.low,
                high=store.high,
                margin="level",
            )
        )
    return tuple(dict.fromkeys(found))


def _of(
    variable: str,
    owner: str,
    dim: str,
    high: float,
    margin: Literal["power", "temperature", "level"],
) -> Limit:
    return Limit(variable=variable, owner=owner, dim=dim, high=high, margin=margin)


def violations(site: Site, record: xr.Dataset, *, called: FloatArray | float = 0.0) -> xr.DataArray:
    """Count the violations of a record: one for each limit and minute beyond its tolerance.

    Parameters
    ----------
    site
        The site with its limits.
    record
        What a plant did, in minutes.
    called
        Import that reserves spared because the grid called them, below 0 what they took more:
        operators exempt it from the ramp limit, ``(time,)``. [MW]

    Returns
    -------
    xarray.DataArray
        Number of violated minutes, ``(limit,)``; what is no number violates. [1]
        ``first(limit)`` is when the first begins, NaT where none does.

    Raises
    ------
    StateError
        If an interval is no minute: means of longer ones hide peaks, and their steps are no ramps.
    """
    check_given("violations", site=(site, Site), record=(record, xr.Dataset))
    steps = np.diff(axes.edges_of(record))
    if (steps != axes.MINUTE).any():
        first = int(np.argmax(steps != axes.MINUTE))
        place = f"record, {axes.to_minute(record['time'].to_numpy()[first])}"
        mend = "violations are counted by the minute; give a record of minutes, as plants keep"
        fault = Fault(place=place, value=f"{steps[first] / axes.MINUTE:g} min", mend=mend)
        raise StateError(site.name, [fault])
    found = {limit.name: ~(limit.beyond(record) <= 1.0) for limit in limits(site)}
    ramp = np.abs(np.diff(net_import(record).to_numpy() + called)) / site.grid.ramp
    found[RAMP] = np.append(False, ~(ramp <= 1.0 + SHARE_BEYOND))
    time, never = record["time"].to_numpy(), np.datetime64("NaT", "us")
    since = [time[np.argmax(one)] if one.any() else never for one in found.values()]
    return xr.DataArray(
        [int(one.sum()) for one in found.values()],
        coords={"limit": list(found), "first": ("limit", np.array(since, "datetime64[us]"))},
        dims="limit",
        attrs={"units": "1"},
    )
