"""What has no sense in a question whose words are all there, each with its place and its mend."""

from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Final

import numpy as np
import xarray as xr

from optimizer.question import promised
from twin import variables
from twin.equipment import CoolingPlant
from twin.errors import ValidationIssue
from twin.physics import FloatArray
from twin.site import Site
from twin.units import MAX_CARBON_INTENSITY_KG_MWH, MAX_ENERGY_PRICE_EUR_MWH, MAX_OBJECTIVE_WEIGHTS
from twin.validation import value_issues
from twin.variables import values_by_machine
from twin.weather import PLAUSIBLE_AIR
from twin.workload.queue import RackPool

UNLIKE: Final = 10.0
"""Power over that of its connection or machine from which on it is of another unit. [1]"""

GROSS: Final = 0.1
"""Share of a plant's rating by which its output may lie below none. [1]"""

NEARLY: Final = 1e-3
"""Share of the work that may be due before it can be done: intervals are cut at their edges. [1]"""

BACKLOG: Final = 10.0 * 8766.0
"""Hours of all racks of a site beyond which no work waits: ten years. [h]"""

ROUNDING: Final = 1e-6
"""Difference of work, racks or units that is no difference. [1]"""

PAUSES: Final = ("work_racks_running", "work_rest")
"""Variables without which an outlook does not tell what a pause of work loses."""

RANGES: Final = {**PLAUSIBLE_AIR, "carbon_intensity": (0.0, MAX_CARBON_INTENSITY_KG_MWH)}
"""Word -> least and greatest value that can be, in its unit; mostly another unit was meant."""


def of_weights(given: Mapping[str, float]) -> Iterator[ValidationIssue]:
    """Yield weights that are unknown, no numbers, below nothing, or greater than any price.

    Parameters
    ----------
    given
        Name -> weight, in the units of :data:`twin.units.MAX_OBJECTIVE_WEIGHTS`.
    """
    for name, weight in given.items():
        if name not in MAX_OBJECTIVE_WEIGHTS:
            mend = f"there are the weights {', '.join(MAX_OBJECTIVE_WEIGHTS)}"
            yield ValidationIssue(place=f"weights, {name}", value=str(weight), mend=mend)
            continue
        most, unit = MAX_OBJECTIVE_WEIGHTS[name]
        if not isinstance(weight, Real):
            yield ValidationIssue(
                place=f"weights, {name}", value=repr(weight), mend="must be a number"
            )
            continue
        if not 0.0 <= weight <= most:  # nor does a number that is none
            shown = "" if unit == "1" else f" {unit}"
            mend = f"must be finite, from 0 to {most:g}{shown}"
            yield ValidationIssue(place=f"weights, {name}", value=f"{weight:g}{shown}", mend=mend)
        elif name == "money" and weight == 0.0:
            mend = "must be above 0: without it targets, ramps and reserves cost nothing to break"
            yield ValidationIssue(place="weights, money", value="0", mend=mend)


def banks(site: Site) -> dict[str, int]:
    """Return the number of units of every bank that is committed. [1]"""
    return {owner: units.count for owner, units in site.committed.items()}


def of_past(site: Site, past: Mapping[str, FloatArray]) -> Iterator[ValidationIssue]:
    """Yield what cannot have been on.

    Parameters
    ----------
    site
        The site.
    past
        Owner of units -> how many were on, the latest last. [1]
    """
    known = banks(site)
    for owner, given in past.items():
        place, ran = f"past_units, {owner}", np.atleast_1d(np.asarray(given, dtype=float))
        if owner not in known:
            mend = f"no such bank of units; there are {', '.join(known) or 'none'}"
            yield ValidationIssue(place=place, value="", mend=mend)
        elif ran.ndim > 1 or not ran.size:
            mend = "needs a number for one interval at least; leave out what is not known"
            yield ValidationIssue(place=place, value=f"of shape {ran.shape}", mend=mend)
        else:
            is_whole = np.isclose(ran, np.round(ran), rtol=0.0, atol=ROUNDING)  # NaN is not
            wrong = ~(is_whole & (ran >= -ROUNDING) & (ran <= known[owner] + ROUNDING))
            if wrong.any():
                at = int(np.flatnonzero(wrong)[0])
                mend = f"must be whole numbers from 0 to the bank's {known[owner]} units"
                yield ValidationIssue(place=f"{place}, {at}", value=f"{ran[at]:g}", mend=mend)


def of_limit(limit: FloatArray | None, hours: FloatArray) -> Iterator[ValidationIssue]:
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
        mend = f"needs a number for each of the {len(hours)} intervals; infinite is no limit"
        yield ValidationIssue(place="work_limit", value=f"of shape {given.shape}", mend=mend)
    elif (wrong := ~(given >= 0.0)).any():
        at = int(np.flatnonzero(wrong)[0])
        mend = "must be 0 MW or more; infinite is no limit"
        yield ValidationIssue(place=f"work_limit, {at}", value=f"{given[at]:g} MW", mend=mend)


def of_outlook(site: Site, outlook: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield what cannot be in an outlook that is whole.

    Parameters
    ----------
    site
        The site.
    outlook
        What is expected.
    """
    yield from promised.sense(site, outlook, greatest=MAX_ENERGY_PRICE_EUR_MWH)
    prices = outlook["electricity_price"], outlook["terminal_price"]
    for price in prices:
        mend = f"no market has more than {MAX_ENERGY_PRICE_EUR_MWH:g} EUR/MWh; is it in EUR/MWh?"
        yield from value_issues(price, np.abs(price.to_numpy()) > MAX_ENERGY_PRICE_EUR_MWH, mend)
    racks = outlook["service_racks"]
    mend = f"must lie between 0 and the site's {site.racks} racks"
    off = (racks.to_numpy() < 0) | (racks.to_numpy() > site.racks + ROUNDING)
    yield from value_issues(racks, off, mend)
    for name, (low, high) in RANGES.items():
        values, unit = outlook[name].to_numpy(), variables.variable_definition(name).unit
        told = f"{high:g}; is it a share?" if unit == "1" else f"{high:g} {unit}; is it in {unit}?"
        mend = f"must be from {low:g} to {told}"
        yield from value_issues(outlook[name], (values < low) | (values > high), mend)
    for name in ("work_racks_limit", "renewable_available_power", *PAUSES):
        if name in outlook:
            yield from value_issues(
                outlook[name], outlook[name].to_numpy() < 0, "must not be negative"
            )
    yield from _of_sources(site, outlook)
    yield from _of_work(site, outlook)


def _of_sources(site: Site, outlook: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield sun and wind far beyond what their machines can give: another unit was meant."""
    for exchange in (one for one in site.exchanges if one.available):
        most = UNLIKE * exchange.import_limit
        given = outlook[exchange.available].sel(renewable=[exchange.owner])
        mend = f"is more than {UNLIKE:g} times its {exchange.import_limit:g} MW; is it in MW?"
        yield from value_issues(given, given.to_numpy() > most, mend)


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
    mend = "is more than work_most allows by then"
    yield from value_issues(rows, least > most + ROUNDING, mend)
    pool = RackPool.of(site)
    backlog = BACKLOG * pool.racks * pool.rack_power
    mend = f"all racks together do {backlog:.3g} MWh in ten years; is it in MWh?"
    yield from value_issues(
        outlook["work_most"].transpose("instant", "cohort"), most > backlog, mend
    )
    hours = outlook["duration"].to_numpy()[:, None]
    can = pool.rack_power * hours * _bare(outlook, "work_racks_limit")
    could = np.concatenate([np.zeros_like(most[:1]), np.cumsum(can, axis=0)])
    begun = np.minimum.accumulate((most - could)[:-1], axis=0)  # done so far, at best, less could
    short = np.concatenate([np.zeros_like(least[:1]), least[1:] - could[1:] - begun])
    mend = (
        "is more than its racks can do by then: its jobs are longer than their windows; allow "
        "later deadlines or shorter jobs"
    )
    yield from value_issues(rows, short > NEARLY * (1.0 + least), mend)
    for name, sums in (("work_least", least), ("work_most", most)):
        falls = np.diff(sums, axis=0, prepend=0.0) < -ROUNDING
        rows = outlook[name].transpose("instant", "cohort")
        yield from value_issues(rows, falls, "is a sum since the first instant: it must not fall")
        mend = "must be 0 at the first instant"
        yield from value_issues(rows[:1], np.abs(sums[:1]) > ROUNDING, mend)


def of_state(site: Site, state: xr.Dataset) -> Iterator[ValidationIssue]:
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
            mend = "powers are never negative"
            yield ValidationIssue(place=f"state, {name}", value=f"{power:g} MW", mend=mend)
        if power > UNLIKE * site.grid.import_limit:
            most = f"{UNLIKE:g} times the connection's {site.grid.import_limit:g} MW"
            mend = f"is more than {most}; is it in MW?"
            yield ValidationIssue(place=f"state, {name}", value=f"{power:g} MW", mend=mend)
    output = values_by_machine(state, "cooling_plant_output")
    for plant in site.of(CoolingPlant):
        given, likely = output[plant.name], UNLIKE * plant.rated_cooling
        if not -GROSS * plant.rated_cooling <= given <= likely:  # meters show a little below none
            mend = f"must lie between 0 and {likely:g} MW, {UNLIKE:g} times what it is rated for"
            place = f"state, cooling_plant_output, {plant.name}"
            yield ValidationIssue(place=place, value=f"{given:g} MW", mend=mend)


def _bare(outlook: xr.Dataset, name: str) -> FloatArray:
    """Return a word as an array on ``instant`` or ``time``, then ``cohort``."""
    return outlook[name].transpose(..., "cohort").to_numpy().astype(float)
