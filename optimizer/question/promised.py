"""The promises that a problem holds, checked before anything is built."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import xarray as xr

from twin.errors import ValidationIssue
from twin.markets.contracts import DayAheadPosition, HourlyMatching
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.relations import Obligation
from twin.site import Site
from twin.units import format_minute
from twin.validation import value_issues
from twin.variables import net_import

AXES: Final[Mapping[str, tuple[str, ...]]] = {
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

NONE: Final = frozenset({"grid_import_target", "grid_import_limit"})
"""Of these, words in which infinite means that there is none."""

HARD: Final = frozenset({"grid_import_target_price"})
"""Of these, words in which infinite means that it must not be."""

RELIED: Final = np.timedelta64(1, "h")
"""How long a plan that is no optimum is relied upon; targets later than that ease no work now."""

SAME: Final = 0.01
"""Power above a target that is no breach. [MW]"""

ROUNDING: Final = 1e-6
"""Power or price that is no difference. [MW; EUR MWh-1]"""


def promises(site: Site, outlook: xr.Dataset) -> tuple[Obligation, ...]:
    """Return the commitments of a site of which an outlook says what they are.

    Parameters
    ----------
    site
        The site.
    outlook
        What is expected.
    """
    return tuple(c for c in site.commitments if all(word in outlook for word in c.needs))


def given(outlook: xr.Dataset) -> tuple[str, ...]:
    """Return the words of :data:`AXES` that an outlook holds."""
    return tuple(word for word in AXES if word in outlook)


def is_number(name: str, values: FloatArray) -> BoolArray:
    """Return where a word's values are numbers as it may have them."""
    if name in NONE | HARD:
        return np.asarray(~np.isnan(values) & (values != -np.inf))
    return np.isfinite(values)


def sense(site: Site, outlook: xr.Dataset, *, greatest: float) -> Iterator[ValidationIssue]:
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
    for name in given(outlook):
        word, most = outlook[name], site.grid.import_limit
        values = word.to_numpy()
        if name.endswith("_price"):
            wrong = (np.abs(values) > greatest) & np.isfinite(values)
            mend = f"no market has more than {greatest:g} EUR/MWh; is it in EUR/MWh?"
            yield from value_issues(word, wrong, mend)
        elif name == "position_held":
            yield from value_issues(word, (values != 0.0) & (values != 1.0), "must be 0 or 1")
        else:
            least = 0.0 - site.grid.export_limit if name in _NET else 0.0
            off = (values < least - ROUNDING) | ((values > most + ROUNDING) & np.isfinite(values))
            off &= name != "matched_power" or values < 0.0
            mend = f"must lie between {least:g} and the connection's {most:g} MW"
            yield from value_issues(word, off, mend)
    yield from _contracts(site, outlook)


_NET: Final = frozenset({"day_ahead_position", "grid_import_target"})


def _contracts(site: Site, outlook: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield contracts that do not go together, or that could be lived on."""
    for kind in (DayAheadPosition, HourlyMatching):
        for other in site.of(kind)[1:]:
            mend = f"a site has one {kind.kind} at most"
            yield ValidationIssue(place=f"equipment.{other.name}", value="", mend=mend)
    is_matched = bool(site.of(HourlyMatching))
    if is_matched != (site.grid.carbon == "matched"):
        mend = 'an hourly_matching goes with carbon = "matched" at the connection, and only there'
        yield ValidationIssue(
            place=f"equipment.{site.grid.name}, carbon", value=site.grid.carbon, mend=mend
        )
    time = outlook["time"].to_numpy()
    for one in promises(site, outlook):
        terms = one.terms(outlook)
        spread = terms.up_price + terms.down_price
        wrong = terms.is_held & (spread < -ROUNDING)
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            at = format_minute(time[int(np.flatnonzero(terms.window == first)[0])])
            mend = (
                "to be above and below at once would earn money: a short price must not lie "
                "below the long price of the same interval"
            )
            shown = f"{spread[first]:g} EUR/MWh (and {int(wrong.sum()) - 1} more)"
            yield ValidationIssue(place=f"{one.owner}, {at}", value=shown, mend=mend)


def beyond_targets(outlook: xr.Dataset, schedule: xr.Dataset) -> bool:
    """Return whether a plan takes more than partners ask for, as long as it is relied upon.

    Parameters
    ----------
    outlook
        What is expected and asked.
    schedule
        What the plan promises at the connection.
    """
    if "grid_import_target" not in outlook:
        return False
    time = schedule["time"].to_numpy()
    near = time[time < time[0] + RELIED]
    asked = outlook["grid_import_target"].min("contract").sel(time=near, method="pad")
    net = net_import(schedule).sel(time=near)
    return bool((net.to_numpy() > asked.to_numpy() + SAME).any())


def labels(site: Site, outlook: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield the contracts of which an outlook with an axis of contracts says nothing."""
    known = {str(name) for name in outlook.coords.get("contract", xr.DataArray([])).to_numpy()}
    for one in promises(site, outlook):
        axes = [word for word in one.needs if "contract" in outlook[word].dims]
        if axes and one.owner not in known:
            mend = "the outlook does not say what is promised"
            yield ValidationIssue(place=f"outlook, contract, {one.owner}", value="", mend=mend)
