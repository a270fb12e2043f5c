"""Obligations, load targets and reserve capacity of an outlook, with the checks of obligations.

Current and next requests of grid partners, as outlook variables and as texts for the status.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.argument_checks import value_issues
from twin.errors import IssueCode, ValidationIssue
from twin.feasibility.reserve_deliverability import eligible_stores, work_may_hold
from twin.markets.contracts import DayAheadPosition, HourlyMatching
from twin.markets.reserve_products import ReserveProduct
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.relations import Obligation
from twin.site import Site
from twin.site_settings import WorkKind
from twin.units import format_minute


def obligations_in_outlook(site: Site, outlook: xr.Dataset) -> tuple[Obligation, ...]:
    """Return the obligations of a site whose variables the outlook contains."""
    return tuple(
        c for c in site.obligations if all(variable in outlook for variable in c.required_variables)
    )


RESERVE_CALLED_VARIABLE: Final = "reserve_called"
"""Outlook variable: share of sold capacity that is activated."""

CAPACITY_TOLERANCE_MW: Final = 1e-6
"""Difference of capacity that is ignored. [MW]"""


def reserve_price(outlook: xr.Dataset, product: ReserveProduct) -> FloatArray:
    """Return the capacity price of a product, ``(time,)``. [EUR MW-1 h-1]"""
    series = _series(outlook, "reserve_price", product.name)
    return np.full(outlook.sizes["time"], product.price) if series is None else series


def sold_capacity(outlook: xr.Dataset, product: ReserveProduct) -> FloatArray:
    """Return the sold capacity of a product, ``(time,)``. [MW]"""
    series = _series(outlook, "reserve_held", product.name)
    return np.zeros(outlook.sizes["time"]) if series is None else series


def required_capacity(outlook: xr.Dataset, product: ReserveProduct) -> FloatArray:
    """Return sold capacity less its activated share, which is already delivered, ``(time,)``.
    [MW]
    """
    called = _series(outlook, RESERVE_CALLED_VARIABLE, product.name)
    return sold_capacity(outlook, product) * (1.0 if called is None else 1.0 - called)


def reserve_capacity_bound(site: Site, product: ReserveProduct) -> float:
    """Return a capacity that no plan can exceed. [MW]"""
    stores = sum(s.charge_limit + s.discharge_limit for s in eligible_stores(site, product))
    racks = sum(work.racks * work.full_power for work in site.flexible_loads)
    return stores + (racks if eligible_work(site, product) else 0.0)


def eligible_work(site: Site, product: ReserveProduct) -> tuple[WorkKind, ...]:
    """Return the kinds of work that may provide a product."""
    return tuple(kind for kind in site.work.values() if work_may_hold(product, kind))


def _series(outlook: xr.Dataset, variable: str, product: str) -> FloatArray | None:
    if variable not in outlook or product not in outlook["product"].to_numpy():
        return None
    return outlook[variable].sel(product=product).to_numpy().astype(float)


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
"""Outlook variable of an obligation -> its axes; missing ones are no obligation."""

UNLIMITED_IF_INFINITE: Final = frozenset({"grid_import_target", "grid_import_limit"})
"""Variables in which infinity means no limit."""

HARD_IF_INFINITE: Final = frozenset({"grid_import_target_price"})
"""Variables in which infinity means a hard obligation."""

OBLIGATION_TOLERANCE: Final = 1e-6
"""Difference of power or price that is ignored. [MW; EUR MWh-1]"""


def obligation_variables(outlook: xr.Dataset) -> tuple[str, ...]:
    """Return the variables of obligations in an outlook."""
    return tuple(name for name in OBLIGATION_AXES if name in outlook)


def is_valid_value(name: str, values: FloatArray) -> BoolArray:
    """Return where values are finite, or infinite where that has a meaning."""
    if name in UNLIMITED_IF_INFINITE | HARD_IF_INFINITE:
        return np.asarray(~np.isnan(values) & (values != -np.inf))
    return np.isfinite(values)


def find_obligation_issues(
    site: Site, outlook: xr.Dataset, *, greatest: float
) -> Iterator[ValidationIssue]:
    """Yield implausible obligations in an outlook with valid numbers.

    ``greatest`` is the largest plausible price. [EUR MWh-1]
    """
    for name in obligation_variables(outlook):
        variable, most = outlook[name], site.grid_connection.import_limit
        values = variable.to_numpy()
        if name.endswith("_price"):
            wrong = (np.abs(values) > greatest) & np.isfinite(values)
            yield from value_issues(
                variable,
                wrong,
                expected=f"prices of at most {greatest:g} EUR/MWh",
                remedy="write prices in EUR/MWh",
            )
        elif name == "position_held":
            yield from value_issues(variable, (values != 0.0) & (values != 1.0), expected="0 or 1")
        else:
            least = 0.0 - site.grid_connection.export_limit if name in _NET else 0.0
            off = (values < least - OBLIGATION_TOLERANCE) | (
                (values > most + OBLIGATION_TOLERANCE) & np.isfinite(values)
            )
            off &= name != "matched_power" or values < 0.0
            yield from value_issues(
                variable, off, expected=f"values from {least:g} MW to the connection's {most:g} MW"
            )
    yield from _find_contract_issues(site, outlook)


_NET: Final = frozenset({"day_ahead_position", "grid_import_target"})


def _find_contract_issues(site: Site, outlook: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield contracts that conflict, or whose deviations would earn money."""
    for kind in (DayAheadPosition, HourlyMatching):
        for other in site.machines_of(kind)[1:]:
            yield IssueCode.UNSUPPORTED.issue(
                f"equipment.{other.name}",
                expected=f"at most one {kind.kind}",
                remedy="remove the others",
            )
    is_matched = bool(site.machines_of(HourlyMatching))
    if is_matched != (site.grid_connection.carbon == "matched"):
        yield IssueCode.INCONSISTENT.issue(
            f"equipment.{site.grid_connection.name}, carbon",
            found=site.grid_connection.carbon,
            expected='"matched" with an hourly_matching, another value without',
            remedy="change carbon, or add or remove the hourly_matching",
        )
    time = outlook["time"].to_numpy()
    for one in obligations_in_outlook(site, outlook):
        terms = one.terms(outlook)
        spread = terms.price_above + terms.price_below
        wrong = terms.is_binding & (spread < -OBLIGATION_TOLERANCE)
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            at = format_minute(time[int(np.flatnonzero(terms.window_index == first)[0])])
            yield IssueCode.INCONSISTENT.issue(
                f"{one.owner}, {at}",
                found=f"{spread[first]:g} EUR/MWh (and {int(wrong.sum()) - 1} more)",
                expected="a short price not below the long price, as deviations must not earn",
                remedy="change one of the prices",
            )


def find_missing_contracts(site: Site, outlook: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield contracts that an outlook with an axis of contracts does not describe."""
    known = {str(name) for name in outlook.coords.get("contract", xr.DataArray([])).to_numpy()}
    for one in obligations_in_outlook(site, outlook):
        axes = [name for name in one.required_variables if "contract" in outlook[name].dims]
        if axes and one.owner not in known:
            yield IssueCode.MISSING.issue(
                f"outlook, contract, {one.owner}",
                expected="a label of each contract",
                remedy="add its values",
            )


REQUESTED_SUFFIX: Final = "_requested"
"""End of the name of a limit as partners requested it."""


def request_outlook(
    axes: xr.Dataset,
    *,
    targets: Mapping[str, tuple[FloatArray, FloatArray]],
    activated: Mapping[str, BoolArray],
    requested: Mapping[str, FloatArray] | None = None,
) -> xr.Dataset:
    """Return the requests over a horizon as variables of an outlook.

    - `targets`: contract -> largest net import requested [MW], and its price [EUR MWh-1].
    - `activated`: reserve product -> intervals in which it is activated, or recovers from it.
    - `requested`: contract -> net import requested, where targets turn earlier. [MW]
    """
    found = xr.Dataset(coords={"time": axes["time"].to_numpy()})
    if requested:
        found = found.assign_coords(contract=list(requested))
        rows = np.stack(list(requested.values()), axis=-1)
        found[f"grid_import_target{REQUESTED_SUFFIX}"] = ("time", "contract"), rows
    if targets:
        power, price = (np.stack(rows, axis=-1) for rows in zip(*targets.values(), strict=True))
        found = found.assign_coords(contract=list(targets))
        found["grid_import_target"] = ("time", "contract"), power
        found["grid_import_target_price"] = ("time", "contract"), price
    if activated:
        found = found.assign_coords(product=list(activated))
        recovering = np.stack(list(activated.values()), axis=-1)
        found[RESERVE_CALLED_VARIABLE] = ("time", "product"), recovering.astype(float)
    return variables.tag_dataset(found)
