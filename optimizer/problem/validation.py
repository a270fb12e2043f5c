"""What has no sense in a question whose words are all there, each with its place and its remedy.

The promises that a problem holds, checked before anything is built.
"""

from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Final

import numpy as np
import xarray as xr

from optimizer.problem.contracts import CAPACITY_TOLERANCE_MW, RESERVE_CALLED, described_obligations
from twin import variables
from twin.equipment import CoolingPlant
from twin.errors import StateError, UnitError, ValidationIssue
from twin.forecast.history import WEATHER_VARIABLES
from twin.markets.contracts import DayAheadPosition, HourlyMatching
from twin.markets.reserve_products import (
    RESERVE_SERIES,
    ReserveProduct,
    block_edges,
    is_valid,
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
from twin.validation import axis_issues, value_issues
from twin.variables import values_by_machine
from twin.weather import PLAUSIBLE_AIR
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
"""Variable of the outlooks of sites that have sun or wind of their own."""

PREEMPTION_VARIABLES: Final = ("work_racks_running", "work_rest")
"""Variables without which an outlook does not tell what a pause of work loses."""

OBLIGATION_AXES: Final[Mapping[str, tuple[str, ...]]] = {
    "grid_import_limit": ("time",),
    "grid_import_target": ("time", "contract"),
    "grid_import_target_price": ("time", "contract"),
    "day_ahead_position": ("time",),
    "position_held": ("time",),
    "imbalance_short_price": ("time",),
    "imbalance_long_price": ("time",),
    "intraday_price": ("time",),
    "matched_power": ("time",),
}
"""Word of an outlook -> its axes. Only some hold these: what is missing is not promised."""

OPTIONAL_OUTLOOK_AXES: Final[Mapping[str, tuple[str, ...]]] = {
    RENEWABLE_VARIABLE: ("time", "renewable"),
    **dict.fromkeys(PREEMPTION_VARIABLES, ("cohort",)),
    **{word: ("time",) for word in WEATHER_VARIABLES if word not in REQUIRED_OUTLOOK_AXES},
    **OBLIGATION_AXES,
}
"""The same of what only some outlooks hold."""


def find_outlook_issues(
    site: Site, state: xr.Dataset, outlook: xr.Dataset
) -> list[ValidationIssue]:
    """Return what is missing, not finite, or has another unit, another axis or other labels."""
    sources = [e.owner for e in site.exchanges if e.availability_variable]
    names = [*REQUIRED_OUTLOOK_AXES, *([RENEWABLE_VARIABLE] if sources else [])]
    names += obligation_variables(outlook)
    names += PREEMPTION_VARIABLES if any(name in outlook for name in PREEMPTION_VARIABLES) else ()
    names += [
        word for word in WEATHER_VARIABLES if word in outlook and word not in REQUIRED_OUTLOOK_AXES
    ]
    faults, off = (
        list(_axes(outlook)),
        list(axis_issues(outlook, {**REQUIRED_OUTLOOK_AXES, **OPTIONAL_OUTLOOK_AXES}, "outlook")),
    )
    faults += off
    try:
        variables.check_variables(outlook, *names)
    except UnitError as error:
        faults += error.issues
    try:
        states.check_state(site, state)
    except (UnitError, StateError) as error:
        faults += error.issues
    told = {fault.location for fault in off}
    if not faults and (now := state["instant"].to_numpy()) != outlook["instant"][0]:
        remedy = f"must be the first instant of the outlook, {outlook['instant'].to_numpy()[0]}"
        faults.append(ValidationIssue(location="state, instant", found=str(now), remedy=remedy))
    for name in (name for name in names if name in outlook and f"outlook, {name}" not in told):
        wrong = ~is_valid_value(name, outlook[name].to_numpy())
        faults += value_issues(outlook[name], wrong, "must be finite")
    for owner in sorted(set(sources) - _labels(outlook, "renewable")):
        remedy = "the outlook does not say what it can give"
        faults.append(
            ValidationIssue(location=f"outlook, renewable, {owner}", found="", remedy=remedy)
        )
    faults += find_missing_contracts(site, outlook)
    for axis in ("renewable", "contract", "cohort"):
        labels = outlook[axis].to_numpy().tolist() if axis in outlook.coords else []
        for label in sorted({str(one) for one in labels if labels.count(one) > 1}):
            faults.append(
                ValidationIssue(location=f"outlook, {axis}", found=label, remedy="every label once")
            )
    for kind in sorted(_labels(outlook, "kind") - set(site.work)):
        remedy = f"the site knows the work {', '.join(site.work)}"
        faults.append(ValidationIssue(location="outlook, kind", found=kind, remedy=remedy))
    return faults


def _labels(outlook: xr.Dataset, name: str) -> set[str]:
    return {str(label) for label in outlook[name].to_numpy()} if name in outlook.coords else set()


def _axes(outlook: xr.Dataset) -> Iterator[ValidationIssue]:
    if any(
        name not in outlook.coords or outlook[name].dims != on
        for name, on in OUTLOOK_COORDINATES.items()
    ):
        remedy = "needs the coordinates time, duration(time), instant, cohort and kind(cohort)"
        yield ValidationIssue(location="outlook", found=str(list(outlook.coords)), remedy=remedy)
        return
    time, instant = outlook["time"].to_numpy(), outlook["instant"].to_numpy()
    hours = outlook["duration"].to_numpy()
    if not len(time):
        yield ValidationIssue(
            location="outlook, time", found="empty", remedy="needs one interval at least"
        )
    elif len(instant) != len(time) + 1 or (instant[:-1] != time).any():
        remedy = "must be the starts of all intervals and the end of the last"
        yield ValidationIssue(
            location="outlook, instant", found=f"{len(instant)} instants", remedy=remedy
        )
    elif not np.allclose(np.diff(instant) / np.timedelta64(1, "h"), hours) or (hours <= 0).any():
        remedy = "must be the distance of the instants, in hours, above 0"
        yield ValidationIssue(
            location="outlook, duration", found=f"{hours.min()} h at least", remedy=remedy
        )


WRONG_UNIT_FACTOR: Final = 10.0
"""Power over that of its connection or machine from which on it is of another unit. [1]"""

NEGATIVE_OUTPUT_SHARE: Final = 0.1
"""Share of a plant's rating by which its output may lie below none. [1]"""

WORK_WINDOW_TOLERANCE: Final = 1e-3
"""Share of the work that may be due before it can be done: intervals are cut at their edges. [1]"""

MAX_BACKLOG_H: Final = 10.0 * 8766.0
"""Hours of all racks of a site beyond which no work waits: ten years. [h]"""

COUNT_TOLERANCE: Final = 1e-6
"""Difference of work, racks or units that is no difference. [1]"""

PLAUSIBLE_RANGES: Final = {**PLAUSIBLE_AIR, "carbon_intensity": (0.0, MAX_CARBON_INTENSITY_KG_MWH)}
"""Word -> least and greatest value that can be, in its unit; mostly another unit was meant."""


def find_weight_issues(given: Mapping[str, float]) -> Iterator[ValidationIssue]:
    """Yield weights that are unknown, no numbers, below nothing, or greater than any price.

    Parameters
    ----------
    given
        Name -> weight, in the units of :data:`twin.units.MAX_OBJECTIVE_WEIGHTS`.
    """
    for name, weight in given.items():
        if name not in MAX_OBJECTIVE_WEIGHTS:
            remedy = f"there are the weights {', '.join(MAX_OBJECTIVE_WEIGHTS)}"
            yield ValidationIssue(location=f"weights, {name}", found=str(weight), remedy=remedy)
            continue
        most, unit = MAX_OBJECTIVE_WEIGHTS[name]
        if not isinstance(weight, Real):
            yield ValidationIssue(
                location=f"weights, {name}", found=repr(weight), remedy="must be a number"
            )
            continue
        if not 0.0 <= weight <= most:  # nor does a number that is none
            shown = "" if unit == "1" else f" {unit}"
            remedy = f"must be finite, from 0 to {most:g}{shown}"
            yield ValidationIssue(
                location=f"weights, {name}", found=f"{weight:g}{shown}", remedy=remedy
            )
        elif name == "money" and weight == 0.0:
            remedy = "must be above 0: without it targets, ramps and reserves cost nothing to break"
            yield ValidationIssue(location="weights, money", found="0", remedy=remedy)


def unit_counts(site: Site) -> dict[str, int]:
    """Return the number of units of every bank that is committed. [1]"""
    return {owner: units.count for owner, units in site.switchable_units.items()}


def find_past_unit_issues(site: Site, past: Mapping[str, FloatArray]) -> Iterator[ValidationIssue]:
    """Yield what cannot have been on.

    Parameters
    ----------
    site
        The site.
    past
        Owner of units -> how many were on, the latest last. [1]
    """
    known = unit_counts(site)
    for owner, given in past.items():
        place, ran = f"past_units, {owner}", np.atleast_1d(np.asarray(given, dtype=float))
        if owner not in known:
            remedy = f"no such bank of units; there are {', '.join(known) or 'none'}"
            yield ValidationIssue(location=place, found="", remedy=remedy)
        elif ran.ndim > 1 or not ran.size:
            remedy = "needs a number for one interval at least; leave out what is not known"
            yield ValidationIssue(location=place, found=f"of shape {ran.shape}", remedy=remedy)
        else:
            is_whole = np.isclose(ran, np.round(ran), rtol=0.0, atol=COUNT_TOLERANCE)  # NaN is not
            wrong = ~(
                is_whole & (ran >= -COUNT_TOLERANCE) & (ran <= known[owner] + COUNT_TOLERANCE)
            )
            if wrong.any():
                at = int(np.flatnonzero(wrong)[0])
                remedy = f"must be whole numbers from 0 to the bank's {known[owner]} units"
                yield ValidationIssue(
                    location=f"{place}, {at}", found=f"{ran[at]:g}", remedy=remedy
                )


def find_work_limit_issues(
    limit: FloatArray | None, hours: FloatArray
) -> Iterator[ValidationIssue]:
    """Yield what cannot be a limit of what work draws.

    Parameters
    ----------
    limit
        Most that all work may draw above idle, ``(time,)``; None if there is no limit. [MW]
    hours
        Lengths of the intervals. [h]
    """
    given = np.full_like(hours, np.inf) if limit is None else np.asarray(limit, dtype=float)
    if given.shape != hours.shape:
        remedy = f"needs a number for each of the {len(hours)} intervals; infinite is no limit"
        yield ValidationIssue(location="work_limit", found=f"of shape {given.shape}", remedy=remedy)
    elif (wrong := ~(given >= 0.0)).any():
        at = int(np.flatnonzero(wrong)[0])
        remedy = "must be 0 MW or more; infinite is no limit"
        yield ValidationIssue(
            location=f"work_limit, {at}", found=f"{given[at]:g} MW", remedy=remedy
        )


def find_outlook_value_issues(site: Site, outlook: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield what cannot be in an outlook that is whole.

    Parameters
    ----------
    site
        The site.
    outlook
        What is expected.
    """
    yield from find_obligation_issues(site, outlook, greatest=MAX_ENERGY_PRICE_EUR_MWH)
    prices = outlook["electricity_price"], outlook["terminal_price"]
    for price in prices:
        remedy = f"no market has more than {MAX_ENERGY_PRICE_EUR_MWH:g} EUR/MWh; is it in EUR/MWh?"
        yield from value_issues(price, np.abs(price.to_numpy()) > MAX_ENERGY_PRICE_EUR_MWH, remedy)
    racks = outlook["service_racks"]
    remedy = f"must lie between 0 and the site's {site.racks} racks"
    off = (racks.to_numpy() < 0) | (racks.to_numpy() > site.racks + COUNT_TOLERANCE)
    yield from value_issues(racks, off, remedy)
    for name, (low, high) in PLAUSIBLE_RANGES.items():
        values, unit = outlook[name].to_numpy(), variables.variable_definition(name).unit
        told = f"{high:g}; is it a share?" if unit == "1" else f"{high:g} {unit}; is it in {unit}?"
        remedy = f"must be from {low:g} to {told}"
        yield from value_issues(outlook[name], (values < low) | (values > high), remedy)
    for name in ("work_racks_limit", "renewable_available_power", *PREEMPTION_VARIABLES):
        if name in outlook:
            yield from value_issues(
                outlook[name], outlook[name].to_numpy() < 0, "must not be negative"
            )
    yield from _of_sources(site, outlook)
    yield from _of_work(site, outlook)


def _of_sources(site: Site, outlook: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield sun and wind far beyond what their machines can give: another unit was meant."""
    for exchange in (one for one in site.exchanges if one.availability_variable):
        most = WRONG_UNIT_FACTOR * exchange.import_limit
        given = outlook[exchange.availability_variable].sel(renewable=[exchange.owner])
        limit = f"{exchange.import_limit:g} MW"
        remedy = f"is more than {WRONG_UNIT_FACTOR:g} times its {limit}; is it in MW?"
        yield from value_issues(given, given.to_numpy() > most, remedy)


def _of_work(site: Site, outlook: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield work that no queue of jobs can ask for.

    Between any two instants the racks of a cohort must be able to do what is due by the later and
    cannot be done by the earlier: no job does in less than its length. What the racks of the site
    leave undone is another thing, and late. A queue's own jobs always fit, those that are late
    included: each may use its racks for its length from its arrival on, whatever its deadline, and
    what fits for each fits for their sum. So no question of the service is refused here.
    """
    rows = outlook["work_least"].transpose("instant", "cohort")
    least, most = _bare(outlook, "work_least"), _bare(outlook, "work_most")
    remedy = "is more than work_most allows by then"
    yield from value_issues(rows, least > most + COUNT_TOLERANCE, remedy)
    pool = RackPool.from_site(site)
    backlog = MAX_BACKLOG_H * pool.racks * pool.rack_power
    remedy = f"all racks together do {backlog:.3g} MWh in ten years; is it in MWh?"
    yield from value_issues(
        outlook["work_most"].transpose("instant", "cohort"), most > backlog, remedy
    )
    hours = outlook["duration"].to_numpy()[:, None]
    can = pool.rack_power * hours * _bare(outlook, "work_racks_limit")
    could = np.concatenate([np.zeros_like(most[:1]), np.cumsum(can, axis=0)])
    begun = np.minimum.accumulate((most - could)[:-1], axis=0)  # done so far, at best, less could
    short = np.concatenate([np.zeros_like(least[:1]), least[1:] - could[1:] - begun])
    remedy = (
        "is more than its racks can do by then: its jobs are longer than their windows; allow "
        "later deadlines or shorter jobs"
    )
    yield from value_issues(rows, short > WORK_WINDOW_TOLERANCE * (1.0 + least), remedy)
    for name, sums in (("work_least", least), ("work_most", most)):
        falls = np.diff(sums, axis=0, prepend=0.0) < -COUNT_TOLERANCE
        rows = outlook[name].transpose("instant", "cohort")
        yield from value_issues(rows, falls, "is a sum since the first instant: it must not fall")
        remedy = "must be 0 at the first instant"
        yield from value_issues(rows[:1], np.abs(sums[:1]) > COUNT_TOLERANCE, remedy)


def find_state_issues(site: Site, state: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield powers below nothing, or far above the connection or what a plant is rated for.

    Parameters
    ----------
    site
        The site.
    state
        Its state at the first instant.
    """
    for name in ("peak_power", "usual_power", "grid_import_power", "grid_export_power"):
        power = float(state[name])
        if power < 0.0:
            remedy = "powers are never negative"
            yield ValidationIssue(location=f"state, {name}", found=f"{power:g} MW", remedy=remedy)
        if power > WRONG_UNIT_FACTOR * site.grid.import_limit:
            most = f"{WRONG_UNIT_FACTOR:g} times the connection's {site.grid.import_limit:g} MW"
            remedy = f"is more than {most}; is it in MW?"
            yield ValidationIssue(location=f"state, {name}", found=f"{power:g} MW", remedy=remedy)
    output = values_by_machine(state, "cooling_plant_output")
    for plant in site.machines_of(CoolingPlant):
        given, likely = output[plant.name], WRONG_UNIT_FACTOR * plant.rated_cooling
        least = -NEGATIVE_OUTPUT_SHARE * plant.rated_cooling  # meters show a little below none
        if not least <= given <= likely:
            remedy = (
                f"must lie between 0 and {likely:g} MW, "
                f"{WRONG_UNIT_FACTOR:g} times what it is rated for"
            )
            place = f"state, cooling_plant_output, {plant.name}"
            yield ValidationIssue(location=place, found=f"{given:g} MW", remedy=remedy)


def _bare(outlook: xr.Dataset, name: str) -> FloatArray:
    """Return a word as an array on ``instant`` or ``time``, then ``cohort``."""
    return outlook[name].transpose(..., "cohort").to_numpy().astype(float)


UNLIMITED_IF_INFINITE: Final = frozenset({"grid_import_target", "grid_import_limit"})
"""Of these, words in which infinite means that there is none."""

HARD_IF_INFINITE: Final = frozenset({"grid_import_target_price"})
"""Of these, words in which infinite means that it must not be."""

OBLIGATION_TOLERANCE: Final = 1e-6
"""Power or price that is no difference. [MW; EUR MWh-1]"""


def obligation_variables(outlook: xr.Dataset) -> tuple[str, ...]:
    """Return the words of :data:`AXES` that an outlook holds."""
    return tuple(word for word in OBLIGATION_AXES if word in outlook)


def is_valid_value(name: str, values: FloatArray) -> BoolArray:
    """Return where a word's values are numbers as it may have them."""
    if name in UNLIMITED_IF_INFINITE | HARD_IF_INFINITE:
        return np.asarray(~np.isnan(values) & (values != -np.inf))
    return np.isfinite(values)


def find_obligation_issues(
    site: Site, outlook: xr.Dataset, *, greatest: float
) -> Iterator[ValidationIssue]:
    """Yield what has no sense in the promises of an outlook whose values are numbers.

    Parameters
    ----------
    site
        The site.
    outlook
        What is expected.
    greatest
        Price beyond which a series is taken to be broken. [EUR MWh-1]
    """
    for name in obligation_variables(outlook):
        word, most = outlook[name], site.grid.import_limit
        values = word.to_numpy()
        if name.endswith("_price"):
            wrong = (np.abs(values) > greatest) & np.isfinite(values)
            remedy = f"no market has more than {greatest:g} EUR/MWh; is it in EUR/MWh?"
            yield from value_issues(word, wrong, remedy)
        elif name == "position_held":
            yield from value_issues(word, (values != 0.0) & (values != 1.0), "must be 0 or 1")
        else:
            least = 0.0 - site.grid.export_limit if name in _NET else 0.0
            off = (values < least - OBLIGATION_TOLERANCE) | (
                (values > most + OBLIGATION_TOLERANCE) & np.isfinite(values)
            )
            off &= name != "matched_power" or values < 0.0
            remedy = f"must lie between {least:g} and the connection's {most:g} MW"
            yield from value_issues(word, off, remedy)
    yield from _contracts(site, outlook)


_NET: Final = frozenset({"day_ahead_position", "grid_import_target"})


def _contracts(site: Site, outlook: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield contracts that do not go together, or that could be lived on."""
    for kind in (DayAheadPosition, HourlyMatching):
        for other in site.machines_of(kind)[1:]:
            remedy = f"a site has one {kind.kind} at most"
            yield ValidationIssue(location=f"equipment.{other.name}", found="", remedy=remedy)
    is_matched = bool(site.machines_of(HourlyMatching))
    if is_matched != (site.grid.carbon == "matched"):
        remedy = 'an hourly_matching goes with carbon = "matched" at the connection, and only there'
        yield ValidationIssue(
            location=f"equipment.{site.grid.name}, carbon", found=site.grid.carbon, remedy=remedy
        )
    time = outlook["time"].to_numpy()
    for one in described_obligations(site, outlook):
        terms = one.terms(outlook)
        spread = terms.price_above + terms.price_below
        wrong = terms.is_binding & (spread < -OBLIGATION_TOLERANCE)
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            at = format_minute(time[int(np.flatnonzero(terms.window_index == first)[0])])
            remedy = (
                "to be above and below at once would earn money: a short price must not lie "
                "below the long price of the same interval"
            )
            shown = f"{spread[first]:g} EUR/MWh (and {int(wrong.sum()) - 1} more)"
            yield ValidationIssue(location=f"{one.owner}, {at}", found=shown, remedy=remedy)


def find_missing_contracts(site: Site, outlook: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield the contracts of which an outlook with an axis of contracts says nothing."""
    known = {str(name) for name in outlook.coords.get("contract", xr.DataArray([])).to_numpy()}
    for one in described_obligations(site, outlook):
        axes = [word for word in one.required_variables if "contract" in outlook[word].dims]
        if axes and one.owner not in known:
            remedy = "the outlook does not say what is promised"
            yield ValidationIssue(
                location=f"outlook, contract, {one.owner}", found="", remedy=remedy
            )


MAX_RESERVE_PRICE_EUR_PER_MW_H: Final = 1e4
"""Price beyond which a series is taken to be broken. [EUR MW-1 h-1]"""


def find_reserve_issues(
    site: Site, outlook: xr.Dataset, *, place: str = "outlook"
) -> Iterator[ValidationIssue]:
    """Yield what an outlook says of reserves and cannot be.

    Parameters
    ----------
    site
        The site with its products.
    outlook
        What is expected; its axes are sound.
    place
        Where it comes from.
    """
    told = [word for word in (*RESERVE_SERIES, RESERVE_CALLED) if word in outlook]
    try:
        variables.check_variables(outlook, *told)
    except UnitError as error:
        yield from error.issues
        return
    for word in told:
        if set(outlook[word].dims) != {"time", "product"} or "product" not in outlook.coords:
            remedy = "must stand on time and product"
            yield ValidationIssue(
                location=f"{place}, {word}", found=str(outlook[word].dims), remedy=remedy
            )
            return
        for name in map(str, outlook["product"].to_numpy()):
            if name not in site.reserves:
                known = ", ".join(site.reserves) or "none"
                remedy = f"the site declares the reserves: {known}"
                yield ValidationIssue(location=f"{place}, {word}", found=name, remedy=remedy)
            else:
                yield from _wrong(site.reserves[name], outlook, word, place)


def _wrong(
    product: ReserveProduct, outlook: xr.Dataset, word: str, place: str
) -> Iterator[ValidationIssue]:
    """Yield the first value of a word that cannot be, with its product and time."""
    values = outlook[word].sel(product=product.name).to_numpy().astype(float)
    instants = outlook["instant"].to_numpy()
    finite = np.isfinite(values)
    reasons = [(~finite, "must be finite")]
    if word == "reserve_price":
        remedy = f"no market pays more than {MAX_RESERVE_PRICE_EUR_PER_MW_H:g} EUR/MW for an hour"
        reasons.append((finite & (np.abs(values) > MAX_RESERVE_PRICE_EUR_PER_MW_H), remedy))
    elif word == RESERVE_CALLED:
        reasons.append((finite & ((values < 0.0) | (values > 1.0)), "must lie between 0 and 1"))
    else:
        reasons.append((finite & (values < 0.0), "must not be negative"))
        several = _in_several(product, instants)  # those hold the most of their blocks
        within = ~(starts_block(product, instants)[1:-1] | several[1:] | several[:-1])
        change = np.concatenate(
            [[False], within & (np.abs(np.diff(values)) > CAPACITY_TOLERANCE_MW)]
        )
        reasons.append((change, _describe_block(product, instants[int(np.argmax(change))])))
        lost = (values > CAPACITY_TOLERANCE_MW) & ~is_valid(product, instants)
        remedy = f"there is no such product before {product.valid_from}"
        if product.valid_to is not None:
            remedy += f" nor from {product.valid_to} on"
        reasons.append((lost, remedy))
    for wrong, remedy in reasons:
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            where = f"{place}, {word}, {product.name}, {format_minute(instants[first])}"
            yield ValidationIssue(location=where, found=f"{values[first]:g}", remedy=remedy)
            return


def _describe_block(product: ReserveProduct, moment: np.datetime64) -> str:
    """Return which block is to be sold whole, in words."""
    blocks = block_edges(product, moment, moment + MINUTE)
    end = int(np.searchsorted(blocks, moment, side="right"))
    block = f"{format_minute(blocks[end - 1])} to {format_minute(blocks[end])}"
    return f"changes within a block, {block}: what is sold is sold for a whole block"


def _in_several(product: ReserveProduct, instants: np.ndarray) -> BoolArray:
    """Return which intervals lie in several blocks, ``(time,)``."""
    blocks = block_edges(product, instants[0], instants[-1])
    first = np.searchsorted(blocks, instants[:-1], side="right")
    return np.asarray(np.searchsorted(blocks, instants[1:], side="left") > first)
