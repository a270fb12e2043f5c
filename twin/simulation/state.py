"""The state of a site at one instant: levels, temperatures, last exchange and billing peak."""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.argument_checks import axis_issues, check_argument_types, value_issues
from twin.equipment import Battery, ChilledWaterTank, CoolingPlant
from twin.errors import IssueCode, StateError, ValidationIssue
from twin.physics import FloatArray
from twin.site import Site
from twin.variables import machine_values

STATE_AXES: Final[Mapping[str, tuple[str, ...]]] = {
    "battery_level": ("battery",),
    "tank_level": ("tank",),
    "facility_supply_temperature": ("circuit",),
    "cooling_plant_output": ("circuit",),
    "peak_power": (),
    "usual_power": (),
    "grid_import_power": (),
    "grid_export_power": (),
}
"""Variable of a state -> its axes."""

STATE_VARIABLES: Final = tuple(STATE_AXES)


LEVEL_TOLERANCE = 0.1
"""Measurement error of a storage level, as a share of its capacity. [1]"""

MIN_LIQUID_TEMPERATURE_C, MAX_LIQUID_TEMPERATURE_C = -30.0, 110.0
"""Range in which the water or glycol of a circuit is liquid. [degC]"""


def initial_state(
    site: Site,
    instant: np.datetime64 | str = "2000-01-01",
    *,
    level: float = 0.5,
    peak_power: float = 0.0,
    mean_weekly_import: float = 0.0,
    grid_import_power: float | None = None,
) -> xr.Dataset:
    """Return a steady initial state: stores part full, water at its set points.

    Parameters
    ----------
    site
        The site.
    instant
        Time of the state.
    level
        Level of every store as a share of its window. [1]
    peak_power
        Largest import of the billing period so far. [MW]
    mean_weekly_import
        Mean import of about the last week. [MW]
    grid_import_power
        Import of the last interval; by default that of the idle halls. [MW]

    Returns
    -------
    xarray.Dataset
        The state, with the scalar coordinate ``instant``.

    Raises
    ------
    ProblemError
        If the argument is not a site.
    """
    check_argument_types("initial_state", site=(site, Site))
    windows = {store.owner: (store.min_level, store.max_level) for store in site.stores}
    labels = _labels(site)
    supply = [float(plant.supply_temperature) for plant in site.machines_of(CoolingPlant)]
    idle = sum(work.racks * work.idle_power for work in site.flexible_loads)
    drawn = idle if grid_import_power is None else grid_import_power

    def levels(owners: list[str]) -> FloatArray:
        return np.array([low + level * (high - low) for low, high in (windows[o] for o in owners)])

    state = xr.Dataset(
        {
            "battery_level": ("battery", levels(labels["battery"])),
            "tank_level": ("tank", levels(labels["tank"])),
            "facility_supply_temperature": ("circuit", np.array(supply)),
            "cooling_plant_output": ("circuit", np.zeros(len(supply))),
            "peak_power": ((), peak_power),
            "usual_power": ((), mean_weekly_import),
            "grid_import_power": ((), drawn),
            "grid_export_power": ((), 0.0),
        },
        coords={"instant": np.datetime64(instant, "us"), **labels},
        attrs=dict(site.identity),
    )
    return variables.tag_dataset(state)


def _labels(site: Site) -> dict[str, list[str]]:
    """Return the machine names of each axis of a state."""
    return {
        "battery": [machine.name for machine in site.machines_of(Battery)],
        "tank": [machine.name for machine in site.machines_of(ChilledWaterTank)],
        "circuit": [machine.name for machine in site.machines_of(CoolingPlant)],
    }


def check_state(site: Site, state: xr.Dataset, *, leading_axes: Collection[str] = ()) -> xr.Dataset:
    """Return the state if it is complete, finite and belongs to the site.

    Its variables may also have the ``leading_axes``.

    Raises ``UnitError`` if a variable or its unit is missing. Raises ``StateError`` if axes or
    labels differ from the site, the attributes name another site, or a value is not a finite
    number.
    """
    variables.check_variables(state, *STATE_VARIABLES)
    issues = [*site.foreign_data_issues(state.attrs, "state")]
    issues += axis_issues(state, STATE_AXES, "state", optional=leading_axes)
    if "instant" not in state.coords or state["instant"].ndim:
        issues.append(
            IssueCode.MISSING.issue(
                "state, instant",
                expected="a scalar coordinate",
                remedy="add the time of the state as coordinate instant",
            )
        )
    StateError.raise_if_any(site.name, issues)
    for dim, expected in _labels(site).items():
        found = state[dim].to_numpy().tolist()
        if found != expected:
            issues.append(
                IssueCode.WRONG_AXES.issue(
                    f"state, {dim}",
                    found=str(found),
                    expected=str(expected),
                    remedy="write the machines of the site in its order",
                )
            )
    for name in STATE_VARIABLES:
        is_wrong = ~np.isfinite(state[name].to_numpy())
        issues += value_issues(state[name], is_wrong, expected="finite values", source="state")
    if not issues:
        issues = [*_impossible_value_issues(site, state)]
    StateError.raise_if_any(site.name, issues)
    return state


def _impossible_value_issues(site: Site, state: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield levels beyond capacity and sensor error, and temperatures of ice or steam."""
    stores: list[Battery | ChilledWaterTank] = [
        *site.machines_of(Battery),
        *site.machines_of(ChilledWaterTank),
    ]
    for store in stores:
        yield from _range_issues(
            state,
            f"{store.kind}_level",
            store.name,
            limits=(-LEVEL_TOLERANCE * store.capacity, (1.0 + LEVEL_TOLERANCE) * store.capacity),
            expected=f"from 0 to {store.capacity:.4g} MWh",
            remedy="correct the level or its unit",
        )
    low, high = MIN_LIQUID_TEMPERATURE_C, MAX_LIQUID_TEMPERATURE_C
    for plant in site.machines_of(CoolingPlant):
        yield from _range_issues(
            state,
            "facility_supply_temperature",
            plant.name,
            limits=(low, high),
            expected=f"liquid water or glycol, from {low:g} to {high:g} degC",
            remedy="correct the temperature or its unit",
        )


def _range_issues(
    state: xr.Dataset,
    name: str,
    owner: str,
    *,
    limits: tuple[float, float],
    expected: str,
    remedy: str,
) -> Iterator[ValidationIssue]:
    """Yield an issue if the value of a machine is outside its limits."""
    values = machine_values(state, name, owner)
    is_wrong = ~((limits[0] <= values) & (values <= limits[1]))
    if is_wrong.any():
        yield IssueCode.OUT_OF_RANGE.issue(
            f"state, {name}, {owner}",
            found=f"{values[is_wrong][0]:g} {state[name].attrs['units']}",
            expected=expected,
            remedy=remedy,
        )
