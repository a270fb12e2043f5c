"""Set points of the cooling water: as variables of a plan, checked, and limited in their ramp.

The number of running chillers is commanded in the same way as set points.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.equipment import CduBank, CoolingPlant, ITHall
from twin.errors import IssueCode, StateError, ValidationIssue
from twin.physics import FloatArray
from twin.relations import SetPoints
from twin.simulation.state import MAX_LIQUID_TEMPERATURE_C, MIN_LIQUID_TEMPERATURE_C
from twin.site import Site
from twin.variables import machine_values

SUPPLY_SET_POINT_VARIABLE: Final = "facility_supply_set_point"
"""Variable of the supply temperature set point."""

SET_POINT_VARIABLES: Final = {
    SUPPLY_SET_POINT_VARIABLE: ("supply_temperature", "circuit"),
    "facility_range_set_point": ("temperature_range", "circuit"),
    "technology_range_set_point": ("technology_range", "cdu"),
}
"""Variable -> field of :class:`~twin.relations.SetPoints`, axis."""

UNITS_ON_VARIABLE: Final = "cooling_plant_units_on"
"""Variable of the running chillers: commanded on ``cooling_plant``, simulated on ``circuit``."""

COMMAND_VARIABLES: Final = {**SET_POINT_VARIABLES, UNITS_ON_VARIABLE: ("units_on", "cooling_plant")}
""":data:`SET_POINT_VARIABLES` and the commanded number of chillers."""


def set_point_variables(set_points: SetPoints) -> dict[str, xr.DataArray]:
    """Return set points as variables of a plan, on ``time`` and their machines."""
    found = {}
    for variable, (field, dim) in COMMAND_VARIABLES.items():
        table: Mapping[str, FloatArray] = getattr(set_points, field)
        if table:
            values = np.stack(list(table.values()), axis=-1)
            array = xr.DataArray(values, dims=("time", dim), coords={dim: list(table)})
            found[variable] = variables.tag_variable(array, variable)
    return found


def set_point_dispatch(set_points: SetPoints) -> dict[tuple[str, str], FloatArray]:
    """Return set points as dispatch by variable and machine."""
    return {
        (variable, owner): values
        for variable, (field, _) in COMMAND_VARIABLES.items()
        for owner, values in getattr(set_points, field).items()
    }


def read_set_points(site: Site, operation: xr.Dataset) -> dict[tuple[str, str], FloatArray]:
    """Return the set points and chiller counts of an operation, by variable and machine.

    - ``operation``: May contain ``facility_supply_set_point(time, circuit)`` [degC],
      ``facility_range_set_point(time, circuit)`` [K], ``technology_range_set_point(time, cdu)`` [K]
      and ``cooling_plant_units_on(time, cooling_plant)`` [1].

    Raises ``StateError`` if a machine is unknown or has no chillers, a temperature is not one of
    liquid water, a range is not positive, or a number of chillers is not whole. Raises
    ``UnitError`` if a unit is missing or of another dimension.
    """
    present = [variable for variable in COMMAND_VARIABLES if variable in operation]
    if (
        UNITS_ON_VARIABLE in present
        and COMMAND_VARIABLES[UNITS_ON_VARIABLE][1] not in operation[UNITS_ON_VARIABLE].dims
    ):
        present.remove(UNITS_ON_VARIABLE)  # simulated units are no command
    variables.check_variables(operation, *present)
    issues = [
        issue
        for variable in present
        for issue in _set_point_issues(site, operation[variable], variable)
    ]
    StateError.raise_if_any(site.name, issues)
    return {
        (variable, str(name)): machine_values(operation, variable, name)
        for variable in present
        for name in operation[variable][COMMAND_VARIABLES[variable][1]].to_numpy()
    }


def collect_set_points(site: Site, table: Mapping[tuple[str, str], FloatArray]) -> SetPoints | None:
    """Return the set points in a dispatch; None if there are none.

    A machine with a commanded range keeps enough flow for the failure of a unit, and a bank of CDUs
    that of the racks' flow rule. The others keep their declared flow.
    """
    fields: dict[str, dict[str, FloatArray]] = {
        field: {} for field, _ in COMMAND_VARIABLES.values()
    }
    for (variable, owner), values in table.items():
        if variable in COMMAND_VARIABLES:
            fields[COMMAND_VARIABLES[variable][0]][owner] = values
    if not any(fields.values()):
        return None
    fields["technology_range"] = flow_rule_ranges(
        site,
        fields["technology_range"],
        _coolant_set_points(site, fields["supply_temperature"]),
    )
    ranged = fields["temperature_range"].keys() | fields["technology_range"].keys()
    minimum_flow_shares = {
        name: share for name, share in minimum_flows(site).items() if name in ranged
    }
    return SetPoints(**fields, minimum_flow=minimum_flow_shares)


def flow_rule_ranges(
    site: Site, ranges: Mapping[str, FloatArray], coolant: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """Return the ranges of the coolant, nowhere wider than the flow rules of the racks allow.

    - ``ranges``: Bank of CDUs -> temperature rise of the coolant. [K]
    - ``coolant``: Bank of CDUs -> temperature of the coolant into the racks; without it the range
      stays. [degC]
    """
    found = dict(ranges)
    for cdu in site.machines_of(CduBank):
        if cdu.name in ranges and cdu.name in coolant:
            for hall in site.machines_of(ITHall):
                if hall.rack_flow_points:
                    widest = hall.widest_coolant_range(coolant[cdu.name], cdu.liquid)
                    found[cdu.name] = np.minimum(found[cdu.name], widest)
    return found


def _coolant_set_points(site: Site, supply: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Return the coolant of each bank at supply set points and the rated approach. [degC]"""
    warm = [plant.name for plant in site.machines_of(CoolingPlant) if plant.serves == "warm"]
    return {
        cdu.name: supply[name] + cdu.approach
        for cdu in site.machines_of(CduBank)
        for name in warm
        if name in supply
    }


def warmest_ruled_coolant(site: Site, cdu: CduBank) -> float:
    """Return the warmest coolant at which a bank gives the flow of the racks' rules. [degC]

    It is infinite without a rule.
    """
    limits = (
        hall.warmest_coolant(cdu.technology_range, cdu.liquid) for hall in site.machines_of(ITHall)
    )
    return min(limits, default=np.inf)


def limit_supply_ramps(
    site: Site, set_points: SetPoints, durations: FloatArray, *, current_supply: Mapping[str, float]
) -> SetPoints:
    """Return set points whose supply temperatures keep the ramp limit, nowhere warmer than before.

    - ``durations``: Lengths of the intervals. [h]
    - ``current_supply``: Cooling plant -> its present supply temperature, from which the first set
      point may rise. Plants without a value may begin anywhere. [degC]
    """
    allowed = site.set_points.temperature_ramp * 60.0 * durations
    ramped = np.concatenate([[0.0], np.cumsum(allowed[1:])])
    supply = {}
    for name, values in set_points.supply_temperature.items():
        begun = np.minimum(values, current_supply.get(name, np.inf) + allowed[0] + ramped)
        risen = np.minimum.accumulate(begun - ramped) + ramped
        supply[name] = np.minimum.accumulate((risen + ramped)[::-1])[::-1] - ramped
    return replace(set_points, supply_temperature=supply)


def _set_point_issues(site: Site, array: xr.DataArray, variable: str) -> Iterator[ValidationIssue]:
    """Yield the issues of one set point variable."""
    field, dim = COMMAND_VARIABLES[variable]
    known = [
        machine.name for machine in site.machines_of(CduBank if dim == "cdu" else CoolingPlant)
    ]
    chilling = [plant.name for plant in site.machines_of(CoolingPlant) if plant.chillers]
    for name in map(str, array[dim].to_numpy()):
        if name not in known:
            yield IssueCode.UNKNOWN_NAME.issue(
                variable,
                found=name,
                expected=f"a {dim} of the site: {', '.join(known)}",
                remedy="correct the name",
            )
        elif variable == UNITS_ON_VARIABLE and name not in chilling:
            yield IssueCode.UNSUPPORTED.issue(
                variable,
                found=name,
                expected="a cooling plant with chillers",
                remedy="remove this plant from the variable",
            )
    values = array.to_numpy()
    if variable == UNITS_ON_VARIABLE:
        if not ((values >= 0.0) & (values == np.round(values))).all():
            yield IssueCode.OUT_OF_RANGE.issue(
                variable,
                expected="whole numbers, 0 or more",
                remedy="correct the number of chillers",
            )
        return
    low, high, expected = 0.0, np.inf, "a finite range above 0 K"
    if field == "supply_temperature":
        low, high = MIN_LIQUID_TEMPERATURE_C, MAX_LIQUID_TEMPERATURE_C
        expected = f"a temperature of liquid water from {low:g} to {high:g} degC"
    is_allowed = (values > low) & (values < high)
    if not is_allowed.all():
        yield IssueCode.OUT_OF_RANGE.issue(
            variable,
            found=f"{values[~is_allowed][0]:g}",
            expected=expected,
            remedy="correct the set point or its unit",
        )


def minimum_flows(site: Site) -> dict[str, float]:
    """Return the minimum flow of each machine that suffices when one of its units fails. [1]

    Cooling plant or bank of CDUs -> share of its rated flow.
    """
    found = {}
    for plant in site.machines_of(CoolingPlant):
        pumps = site.set_points.pumps
        found[plant.name] = min(plant.minimum_flow * pumps / (pumps - 1), 1.0)
    for cdu in site.machines_of(CduBank):
        spare = cdu.count / (cdu.count - 1) if cdu.count > 1 else np.inf
        found[cdu.name] = min(cdu.minimum_flow * spare, 1.0)
    return found
