"""Checks of a problem: every issue with its location, the value found, and the remedy."""

from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Final

import numpy as np
import xarray as xr

from optimizer.problem.obligations_and_reserves import (
    CAPACITY_TOLERANCE_MW,
    OBLIGATION_AXES,
    RESERVE_CALLED_VARIABLE,
    find_missing_contracts,
    find_obligation_issues,
    is_valid_value,
    obligation_variables,
)
from twin import variables
from twin.argument_checks import axis_issues, value_issues
from twin.equipment import CoolingPlant
from twin.errors import IssueCode, StateError, UnitError, ValidationIssue
from twin.markets.reserve_products import (
    RESERVE_SERIES,
    ReserveProduct,
    block_edges,
    is_product_valid,
    starts_block,
)
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.simulation import state as states
from twin.site import Site
from twin.time_axes import MINUTE
from twin.units import (
    MAX_CARBON_INTENSITY_KG_MWH,
    MAX_ENERGY_PRICE_EUR_MWH,
    MAX_OBJECTIVE_WEIGHTS,
    format_minute,
)
from twin.variables import values_by_machine
from twin.weather import PLAUSIBLE_AIR, WEATHER_VARIABLES
from twin.workload.queue import RackPool

REQUIRED_OUTLOOK_AXES: Final[Mapping[str, tuple[str, ...]]] = {
    "electricity_price": ("time",),
    "carbon_intensity": ("time",),
    "air_temperature": ("time",),
    "relative_humidity": ("time",),
    "air_pressure": ("time",),
    "service_racks": ("time",),
    "work_least": ("instant", "cohort"),
    "work_most": ("instant", "cohort"),
    "work_racks_limit": ("time", "cohort"),
    "terminal_price": (),
}
"""Variable of every outlook -> its axes."""

OUTLOOK_COORDINATES: Final[Mapping[str, tuple[str, ...]]] = {
    "time": ("time",),
    "duration": ("time",),
    "instant": ("instant",),
    "cohort": ("cohort",),
    "kind": ("cohort",),
}
"""Coordinate of every outlook -> its axis."""

RENEWABLE_VARIABLE: Final = "renewable_available_power"
"""Outlook variable of sites with renewable sources."""

PREEMPTION_VARIABLES: Final = ("work_racks_running", "work_rest")
"""Outlook variables that are needed to cost a pause."""

OPTIONAL_OUTLOOK_AXES: Final[Mapping[str, tuple[str, ...]]] = {
    RENEWABLE_VARIABLE: ("time", "renewable"),
    **dict.fromkeys(PREEMPTION_VARIABLES, ("cohort",)),
    **{name: ("time",) for name in WEATHER_VARIABLES if name not in REQUIRED_OUTLOOK_AXES},
    **OBLIGATION_AXES,
}
"""Variable of only some outlooks -> its axes."""


def find_outlook_issues(
    site: Site, state: xr.Dataset, outlook: xr.Dataset
) -> list[ValidationIssue]:
    """Return variables that are missing, not finite, or have wrong units, axes or labels."""
    sources = [e.owner for e in site.exchanges if e.availability_variable]
    names = [*REQUIRED_OUTLOOK_AXES, *([RENEWABLE_VARIABLE] if sources else [])]
    names += obligation_variables(outlook)
    names += PREEMPTION_VARIABLES if any(name in outlook for name in PREEMPTION_VARIABLES) else ()
    names += [
        name for name in WEATHER_VARIABLES if name in outlook and name not in REQUIRED_OUTLOOK_AXES
    ]
    issues, misplaced = (
        list(_find_axis_issues(outlook)),
        list(axis_issues(outlook, {**REQUIRED_OUTLOOK_AXES, **OPTIONAL_OUTLOOK_AXES}, "outlook")),
    )
    issues += misplaced
    issues += site.foreign_data_issues(outlook.attrs, "outlook")
    try:
        variables.check_variables(outlook, *names)
    except UnitError as error:
        issues += error.issues
    try:
        states.check_state(site, state)
    except (UnitError, StateError) as error:
        issues += error.issues
    reported = {issue.location for issue in misplaced}
    if not issues and (now := state["instant"].to_numpy()) != outlook["instant"][0]:
        issues.append(
            IssueCode.INCONSISTENT.issue(
                "state, instant",
                found=str(now),
                expected=f"the first instant of the outlook, {outlook['instant'].to_numpy()[0]}",
                remedy="use state and outlook of one moment",
            )
        )
    for name in (n for n in names if n in outlook and f"outlook, {n}" not in reported):
        wrong = ~is_valid_value(name, outlook[name].to_numpy())
        issues += value_issues(outlook[name], wrong, expected="finite values")
    for owner in sorted(set(sources) - _labels(outlook, "renewable")):
        issues.append(
            IssueCode.MISSING.issue(
                f"outlook, renewable, {owner}",
                expected="a label of each renewable source",
                remedy=f"add its {RENEWABLE_VARIABLE}",
            )
        )
    issues += find_missing_contracts(site, outlook)
    for axis in ("renewable", "contract", "cohort"):
        labels = outlook[axis].to_numpy().tolist() if axis in outlook.coords else []
        for label in sorted({str(one) for one in labels if labels.count(one) > 1}):
            issues.append(
                IssueCode.DUPLICATE.issue(
                    f"outlook, {axis}",
                    found=label,
                    expected="each label once",
                    remedy="remove the repetition",
                )
            )
    for kind in sorted(_labels(outlook, "kind") - set(site.work)):
        issues.append(
            IssueCode.UNKNOWN_NAME.issue(
                "outlook, kind",
                found=kind,
                expected=f"a kind of work of the site: {', '.join(site.work)}",
                remedy="use one of these or declare the kind",
            )
        )
    return issues


def _labels(outlook: xr.Dataset, name: str) -> set[str]:
    return {str(label) for label in outlook[name].to_numpy()} if name in outlook.coords else set()


def _find_axis_issues(outlook: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield missing coordinates, and inconsistent time axes."""
    if any(
        name not in outlook.coords or outlook[name].dims != on
        for name, on in OUTLOOK_COORDINATES.items()
    ):
        yield IssueCode.WRONG_AXES.issue(
            "outlook",
            found=str(list(outlook.coords)),
            expected="the coordinates time, duration(time), instant, cohort and kind(cohort)",
            remedy="add the missing ones",
        )
        return
    time, instant = outlook["time"].to_numpy(), outlook["instant"].to_numpy()
    hours = outlook["duration"].to_numpy()
    if not len(time):
        yield IssueCode.MISSING.issue(
            "outlook, time",
            found="empty",
            expected="at least one interval",
            remedy="add an interval",
        )
    elif len(instant) != len(time) + 1 or (instant[:-1] != time).any():
        yield IssueCode.WRONG_AXES.issue(
            "outlook, instant",
            found=f"{len(instant)} instants",
            expected="the starts of all intervals and the end of the last",
            remedy="derive the instants from the intervals",
        )
    elif not np.allclose(np.diff(instant) / np.timedelta64(1, "h"), hours) or (hours <= 0).any():
        yield IssueCode.TIME_ORDER.issue(
            "outlook, duration",
            found=f"{hours.min()} h at least",
            expected="differences of the instants, in hours, above 0",
            remedy="derive the durations from the instants",
        )


WRONG_UNIT_FACTOR: Final = 10.0
"""Power over rating that suggests another unit. [1]"""

NEGATIVE_OUTPUT_SHARE: Final = 0.1
"""Share of its rating that the meter of a plant may show below zero. [1]"""

WORK_WINDOW_TOLERANCE: Final = 1e-3
"""Share of work that may be due before it can be done, because intervals cut jobs. [1]"""

MAX_BACKLOG_H: Final = 10.0 * 8766.0
"""Hours of all racks that no backlog exceeds: ten years. [h]"""

COUNT_TOLERANCE: Final = 1e-6
"""Difference of work, racks or units that is ignored. [1]"""

PLAUSIBLE_RANGES: Final = {**PLAUSIBLE_AIR, "carbon_intensity": (0.0, MAX_CARBON_INTENSITY_KG_MWH)}
"""Variable -> smallest and largest possible value in its unit; others suggest another unit."""


def find_weight_issues(given: Mapping[str, float]) -> Iterator[ValidationIssue]:
    """Yield weights that are unknown, not numeric, negative, or larger than any price.

    ``given`` has the units of :data:`twin.units.MAX_OBJECTIVE_WEIGHTS`.
    """
    for name, weight in given.items():
        location = f"weights, {name}"
        if name not in MAX_OBJECTIVE_WEIGHTS:
            known = f"one of {', '.join(MAX_OBJECTIVE_WEIGHTS)}"
            yield IssueCode.UNKNOWN_NAME.issue(
                location, found=str(weight), expected=known, remedy="rename it"
            )
            continue
        limit, unit = MAX_OBJECTIVE_WEIGHTS[name]
        if not isinstance(weight, Real):
            yield IssueCode.WRONG_TYPE.issue(
                location, found=repr(weight), expected="a number", remedy="write a number"
            )
            continue
        if not 0.0 <= weight <= limit:  # NaN is not within bounds either
            shown = "" if unit == "1" else f" {unit}"
            yield IssueCode.OUT_OF_RANGE.issue(
                location,
                found=f"{weight:g}{shown}",
                expected=f"a finite number from 0 to {limit:g}{shown}",
                remedy="change the weight",
            )
        elif name == "money" and weight == 0.0:
            yield IssueCode.OUT_OF_RANGE.issue(
                location,
                found="0",
                expected="a number above 0, as penalties of targets, ramps and reserves need it",
                remedy="write a positive weight",
            )


def unit_counts(site: Site) -> dict[str, int]:
    """Return the number of units of every committed bank. [1]"""
    return {owner: units.count for owner, units in site.switchable_units.items()}


def find_past_unit_issues(site: Site, past: Mapping[str, FloatArray]) -> Iterator[ValidationIssue]:
    """Yield past units that cannot have been on; the latest number is the last."""
    known = unit_counts(site)
    for owner, given in past.items():
        location, on = f"past_units, {owner}", np.atleast_1d(np.asarray(given, dtype=float))
        if owner not in known:
            yield IssueCode.UNKNOWN_NAME.issue(
                location,
                expected=f"a bank of units: {', '.join(known) or 'none'}",
                remedy="remove it",
            )
        elif on.ndim > 1 or not on.size:
            yield IssueCode.WRONG_AXES.issue(
                location,
                found=f"of shape {on.shape}",
                expected="a number for at least one interval",
                remedy="omit an unknown past",
            )
        else:
            is_whole = np.isclose(on, np.round(on), rtol=0.0, atol=COUNT_TOLERANCE)  # NaN is not
            wrong = ~(is_whole & (on >= -COUNT_TOLERANCE) & (on <= known[owner] + COUNT_TOLERANCE))
            if wrong.any():
                at = int(np.flatnonzero(wrong)[0])
                yield IssueCode.OUT_OF_RANGE.issue(
                    f"{location}, {at}",
                    found=f"{on[at]:g}",
                    expected=f"integers from 0 to the bank's {known[owner]} units",
                    remedy="change the number",
                )


def find_limit_issues(
    place: str, limit: FloatArray | None, hours: FloatArray
) -> Iterator[ValidationIssue]:
    """Yield an invalid limit of power, ``(time,)``, with its place in the problem. [MW]"""
    given = np.full_like(hours, np.inf) if limit is None else np.asarray(limit, dtype=float)
    if given.shape != hours.shape:
        yield IssueCode.WRONG_AXES.issue(
            place,
            found=f"of shape {given.shape}",
            expected=f"a number for each of the {len(hours)} intervals",
            remedy="write infinity where there is no limit",
        )
    elif (wrong := ~(given >= 0.0)).any():
        at = int(np.flatnonzero(wrong)[0])
        yield IssueCode.OUT_OF_RANGE.issue(
            f"{place}, {at}",
            found=f"{given[at]:g} MW",
            expected="0 MW or more",
            remedy="write infinity where there is no limit",
        )


def find_outlook_value_issues(site: Site, outlook: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield implausible values of a complete outlook."""
    yield from find_obligation_issues(site, outlook, greatest=MAX_ENERGY_PRICE_EUR_MWH)
    prices = outlook["electricity_price"], outlook["terminal_price"]
    for price in prices:
        yield from value_issues(
            price,
            np.abs(price.to_numpy()) > MAX_ENERGY_PRICE_EUR_MWH,
            expected=f"prices of at most {MAX_ENERGY_PRICE_EUR_MWH:g} EUR/MWh",
            remedy="write prices in EUR/MWh",
        )
    racks = outlook["service_racks"]
    off = (racks.to_numpy() < 0) | (racks.to_numpy() > site.rack_count + COUNT_TOLERANCE)
    yield from value_issues(
        racks, off, expected=f"0 to {site.rack_count} racks, the number of the site"
    )
    for name, (low, high) in PLAUSIBLE_RANGES.items():
        values, unit = outlook[name].to_numpy(), variables.variable_definition(name).unit
        limit = f"{high:g}" if unit == "1" else f"{high:g} {unit}"
        yield from value_issues(
            outlook[name],
            (values < low) | (values > high),
            expected=f"values from {low:g} to {limit}",
            remedy="write shares of 1" if unit == "1" else f"write values in {unit}",
        )
    for name in ("work_racks_limit", "renewable_available_power", *PREEMPTION_VARIABLES):
        if name in outlook:
            yield from value_issues(
                outlook[name], outlook[name].to_numpy() < 0, expected="values of 0 or more"
            )
    yield from _find_source_issues(site, outlook)
    yield from _find_work_issues(site, outlook)


def _find_source_issues(site: Site, outlook: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield renewable power far above the rating of its source."""
    for exchange in (one for one in site.exchanges if one.availability_variable):
        most = WRONG_UNIT_FACTOR * exchange.import_limit
        given = outlook[exchange.availability_variable].sel(renewable=[exchange.owner])
        rating = f"{exchange.import_limit:g} MW"
        yield from value_issues(
            given,
            given.to_numpy() > most,
            expected=f"at most {WRONG_UNIT_FACTOR:g} times the rating of {rating}",
            remedy="write values in MW",
        )


def _find_work_issues(site: Site, outlook: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield work that no queue of jobs can contain.

    Between two instants the racks of a cohort must be able to do the work that is due by the later
    and cannot be done by the earlier, since no job is shorter than its length. Work that the racks
    of the site cannot do is not an issue but late. Jobs of a queue always pass, late ones included:
    each may use its racks for its length from its arrival, and sums of feasible jobs are feasible.
    """
    rows = outlook["work_least"].transpose("instant", "cohort")
    least, most = _cohort_values(outlook, "work_least"), _cohort_values(outlook, "work_most")
    yield from value_issues(rows, least > most + COUNT_TOLERANCE, expected="at most work_most")
    pool = RackPool.from_site(site)
    backlog = MAX_BACKLOG_H * pool.racks * pool.rack_power
    yield from value_issues(
        outlook["work_most"].transpose("instant", "cohort"),
        most > backlog,
        expected=f"at most {backlog:.3g} MWh, the work of all racks in ten years",
        remedy="write work in MWh",
    )
    hours = outlook["duration"].to_numpy()[:, None]
    can = pool.rack_power * hours * _cohort_values(outlook, "work_racks_limit")
    could = np.concatenate([np.zeros_like(most[:1]), np.cumsum(can, axis=0)])
    # largest work done so far, less capacity
    begun = np.minimum.accumulate((most - could)[:-1], axis=0)
    short = np.concatenate([np.zeros_like(least[:1]), least[1:] - could[1:] - begun])
    yield from value_issues(
        rows,
        short > WORK_WINDOW_TOLERANCE * (1.0 + least),
        expected="no more work than these racks can do by then",
        remedy="allow later deadlines or shorter jobs",
    )
    for name, sums in (("work_least", least), ("work_most", most)):
        falls = np.diff(sums, axis=0, prepend=0.0) < -COUNT_TOLERANCE
        rows = outlook[name].transpose("instant", "cohort")
        yield from value_issues(
            rows, falls, expected="sums since the first instant, which never fall"
        )
        yield from value_issues(
            rows[:1], np.abs(sums[:1]) > COUNT_TOLERANCE, expected="0 at the first instant"
        )


def find_state_issues(site: Site, state: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield powers that are negative or far above the rating of connection or plant."""
    for name in ("peak_power", "usual_power", "grid_import_power", "grid_export_power"):
        power, limit = float(state[name]), WRONG_UNIT_FACTOR * site.grid_connection.import_limit
        if not 0.0 <= power <= limit:
            yield IssueCode.OUT_OF_RANGE.issue(
                f"state, {name}",
                found=f"{power:g} MW",
                expected=f"0 to {limit:g} MW, {WRONG_UNIT_FACTOR:g} times the connection",
                remedy="check its sign and unit",
            )
    output = values_by_machine(state, "cooling_plant_output")
    for plant in site.machines_of(CoolingPlant):
        power, limit = output[plant.name], WRONG_UNIT_FACTOR * plant.rated_cooling
        if not -NEGATIVE_OUTPUT_SHARE * plant.rated_cooling <= power <= limit:
            yield IssueCode.OUT_OF_RANGE.issue(
                f"state, cooling_plant_output, {plant.name}",
                found=f"{power:g} MW",
                expected=f"0 to {limit:g} MW, {WRONG_UNIT_FACTOR:g} times the rating",
                remedy="check its sign and unit",
            )


def _cohort_values(outlook: xr.Dataset, name: str) -> FloatArray:
    """Return a variable as an array on ``instant`` or ``time``, then ``cohort``."""
    return outlook[name].transpose(..., "cohort").to_numpy().astype(float)


MAX_RESERVE_PRICE_EUR_PER_MW_H: Final = 1e4
"""Largest plausible reserve price. [EUR MW-1 h-1]"""


def find_reserve_issues(
    site: Site, outlook: xr.Dataset, *, place: str = "outlook"
) -> Iterator[ValidationIssue]:
    """Yield invalid reserve data of an outlook with valid axes; ``place`` names its source."""
    present = [name for name in (*RESERVE_SERIES, RESERVE_CALLED_VARIABLE) if name in outlook]
    try:
        variables.check_variables(outlook, *present)
    except UnitError as error:
        yield from error.issues
        return
    for name in present:
        if set(outlook[name].dims) != {"time", "product"} or "product" not in outlook.coords:
            yield IssueCode.WRONG_AXES.issue(
                f"{place}, {name}",
                found=str(outlook[name].dims),
                expected="the axes time and product",
                remedy="change the axes",
            )
            return
        for product in map(str, outlook["product"].to_numpy()):
            if product not in site.reserves:
                yield IssueCode.UNKNOWN_NAME.issue(
                    f"{place}, {name}",
                    found=product,
                    expected=f"a reserve of the site: {', '.join(site.reserves) or 'none'}",
                    remedy="rename or declare it",
                )
            else:
                yield from _find_reserve_value_issues(site.reserves[product], outlook, name, place)


def _find_reserve_value_issues(
    product: ReserveProduct, outlook: xr.Dataset, name: str, place: str
) -> Iterator[ValidationIssue]:
    """Yield the first invalid value of a reserve variable, with its product and time."""
    values = outlook[name].sel(product=product.name).to_numpy().astype(float)
    instants = outlook["instant"].to_numpy()
    finite = np.isfinite(values)
    reasons = [(~finite, "a finite number")]
    if name == "reserve_price":
        limit = f"at most {MAX_RESERVE_PRICE_EUR_PER_MW_H:g} EUR/MW for an hour"
        reasons.append((finite & (np.abs(values) > MAX_RESERVE_PRICE_EUR_PER_MW_H), limit))
    elif name == RESERVE_CALLED_VARIABLE:
        reasons.append((finite & ((values < 0.0) | (values > 1.0)), "a share from 0 to 1"))
    else:
        reasons.append((finite & (values < 0.0), "0 MW or more"))
        # an interval with several blocks has their largest value
        several = _spans_several_blocks(product, instants)
        within = ~(starts_block(product, instants)[1:-1] | several[1:] | several[:-1])
        change = np.concatenate(
            [[False], within & (np.abs(np.diff(values)) > CAPACITY_TOLERANCE_MW)]
        )
        reasons.append((change, _describe_block(product, instants[int(np.argmax(change))])))
        lost = (values > CAPACITY_TOLERANCE_MW) & ~is_product_valid(product, instants)
        validity = f"no capacity before {product.valid_from}, when the product begins"
        if product.valid_to is not None:
            validity += f", nor from {product.valid_to} on"
        reasons.append((lost, validity))
    for wrong, expected in reasons:
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            location = f"{place}, {name}, {product.name}, {format_minute(instants[first])}"
            yield IssueCode.OUT_OF_RANGE.issue(
                location, found=f"{values[first]:g}", expected=expected, remedy="change the value"
            )
            return


def _describe_block(product: ReserveProduct, moment: np.datetime64) -> str:
    """Return the remedy that names the block with changing capacity."""
    blocks = block_edges(product, moment, moment + MINUTE)
    end = int(np.searchsorted(blocks, moment, side="right"))
    block = f"{format_minute(blocks[end - 1])} to {format_minute(blocks[end])}"
    return f"one value in the block {block}, which is sold as a whole"


def _spans_several_blocks(product: ReserveProduct, instants: np.ndarray) -> BoolArray:
    """Return which intervals lie in several blocks, ``(time,)``."""
    blocks = block_edges(product, instants[0], instants[-1])
    first = np.searchsorted(blocks, instants[:-1], side="right")
    return np.asarray(np.searchsorted(blocks, instants[1:], side="left") > first)
