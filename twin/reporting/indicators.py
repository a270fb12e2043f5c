r"""Efficiency and carbon of a site over a run: the key performance indicators of EN 50600-4.

Also cooling degree days by Eurostat, and the items of reports. Carbon has two accounts. With the
import :math:`E_t`, the mix's intensity :math:`c_t`, energy matched by contracts :math:`M_t` and own
sun and wind :math:`R_t`, all in the same interval,

.. math::
    C_{location} = \sum E_t c_t, \quad C_{market} = \sum \max(E_t - M_t, 0) c_{residual}, \quad
    S = \frac{\sum (\min(E_t, M_t) + R_t)}{\sum (E_t + R_t + G_t)}

with the energy of generators :math:`G_t`. :math:`R_t` is used directly, as in REF; :math:`S` is the
carbon-free share.

References
----------
.. [1] World Resources Institute, "GHG Protocol Scope 2 Guidance," 2015.
.. [2] Google, "24/7 carbon-free energy: methodologies and metrics," 2021.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from twin import variables
from twin.equipment import CduBank, CoolingPlant, CrahBank, Equipment, Genset, HeatReuse, Renewable
from twin.markets.contracts import HourlyMatching
from twin.site import Site
from twin.time_axes import HOUR, local_midnight
from twin.units import HOURS_PER_DAY

INDICATOR_VARIABLES = (
    "grid_import_power",
    "grid_export_power",
    "it_power",
    "facility_power",
    "water_use",
)
"""Variables that a run must have."""

TWELVE_MONTHS_H: Final = 365.0 * HOURS_PER_DAY
"""Length of a run from which its indicators are no longer interim values. [h]"""

COOLING_POWER_VARIABLES: Final[dict[str, type[Equipment]]] = {
    "cooling_plant_compressor_power": CoolingPlant,
    "cooling_plant_fan_power": CoolingPlant,
    "cooling_plant_pump_power": CoolingPlant,
    "cdu_pump_power": CduBank,
    "hall_air_fan_power": CrahBank,
}
"""Variable of cooling power -> kind of machine."""

REPORTING_KINDS: Final[dict[str, type[Equipment]]] = {
    **COOLING_POWER_VARIABLES,
    "genset_output": Genset,
    "heat_reuse_power": HeatReuse,
    "renewable_used_power": Renewable,
}
"""Variable that figures sum -> kind of machine."""


def indicators(result: xr.Dataset, *, carbon_intensity: xr.DataArray | None = None) -> xr.Dataset:
    r"""Return PUE of each category, WUE, ERF, REF and, where carbon is known, CUE of a run.

    Parameters
    ----------
    result
        A run on ``time`` with ``duration``, as from :func:`twin.simulate`: ``facility_power``,
        ``it_power``, ``grid_import_power``, ``grid_export_power`` [MW], ``water_use`` [m3 h-1] and,
        where present, ``renewable_used_power``, ``heat_reuse_power``, ``hall_power`` and
        ``distribution_loss`` [MW].
    carbon_intensity
        Carbon intensity of the grid on the same ``time``; without it there is no CUE. [kg MWh-1]

    Returns
    -------
    xarray.Dataset
        Scalars ``pue``, ``pue2``, ``pue3``, ``erf``, ``ref`` [1], ``wue`` [m3 MWh-1] and ``cue``
        [kg MWh-1]; NaN if the IT drew nothing, or a needed variable is NaN anywhere. ``pue3`` needs
        ``hall_power``, and ``pue2`` also ``distribution_loss``. The attribute ``is_interim`` is 1
        for runs under twelve months, else 0.

    Raises
    ------
    UnitError
        If a variable or its unit is missing.

    Notes
    -----
    With the energy :math:`E` of the run, of IT taken at the outputs of the UPS (category 1). Pumps
    of CDUs and fans of halls behind the UPS count as IT there, also at sites without UPS. ``pue2``
    takes the energy of IT at the outputs of the PDUs into the busways, ``pue3`` at the inlets of
    the racks [6]_:

    .. math::
        PUE = \frac{E_{DC}}{E_{IT}}, \quad WUE = \frac{V}{E_{IT}}, \quad
        CUE = \frac{\int p_{import} c \, dt}{E_{IT}}, \quad
        ERF = \frac{E_{reuse}}{E_{DC}}, \quad REF = \frac{E_{ren}}{E_{DC}}

    :math:`V` is the water drawn on site. CUE counts all import at the grid's average intensity and
    gives no credit for export. :math:`E_{ren}` is the energy of sun, wind and contracts, less the
    simultaneous export, at most :math:`E_{DC}`; the renewable share of the grid does not count.
    :math:`E_{reuse}` is the reused heat; the electricity of its heat pumps counts in
    :math:`E_{DC}`. Losses of batteries count neither in PUE nor in :math:`E_{DC}`. The standards
    ask for whole years; over shorter runs these are interim values.

    References
    ----------
    .. [1] EN 50600-4-2:2016, "Power usage effectiveness."
    .. [2] EN 50600-4-3:2016, "Renewable energy factor."
    .. [3] EN 50600-4-6:2020, "Energy reuse factor."
    .. [4] EN 50600-4-8:2022, "Carbon usage effectiveness."
    .. [5] EN 50600-4-9:2022, "Water usage effectiveness."
    .. [6] ISO/IEC 30134-2:2016, "Power usage effectiveness (PUE)."
    """
    variables.check_variables(result, *INDICATOR_VARIABLES)
    it, facility = _total(result["it_power"]), _total(result["facility_power"])
    values = {
        "pue": _share(facility, it),
        "wue": _share(_total(result["water_use"]), it),
        "erf": _share(_total(_reused(result)), facility),
        "ref": _share(_total(used_renewable_power(result)), facility),
    }
    if carbon_intensity is not None:
        variables.check_variables(
            carbon_intensity.to_dataset(name="carbon_intensity"), "carbon_intensity"
        )
        values["cue"] = _share(_total(result["grid_import_power"] * carbon_intensity), it)
    if "hall_power" in result:
        racks = _total(result["hall_power"].sum("hall", skipna=False))
        values["pue3"] = _share(facility, racks)
        if "distribution_loss" in result:
            lost = _total(result["distribution_loss"].sum("distribution", skipna=False))
            values["pue2"] = _share(facility, racks + lost)
    found = xr.Dataset({name: ((), value) for name, value in values.items()})
    found.attrs["is_interim"] = int(float(result["duration"].sum()) < TWELVE_MONTHS_H)
    return variables.tag_dataset(found)


def missing_variables(site: Site, result: xr.Dataset) -> frozenset[str]:
    """Return the variables that a run lacks although the site has their machines.

    Such values are unknown, and not 0.
    """
    return frozenset(
        word
        for word, kind in REPORTING_KINDS.items()
        if word not in result and any(site.machines_of(kind))
    )


def _reused(result: xr.Dataset) -> xr.DataArray:
    """Return the reused heat. [MW]"""
    if "heat_reuse_power" not in result:
        return xr.zeros_like(result["facility_power"])
    variables.check_variables(result, "heat_reuse_power")
    return result["heat_reuse_power"].sum("heat_reuse", skipna=False)


def used_renewable_power(result: xr.Dataset) -> xr.DataArray:
    """Return the renewable power used on site, at most the power of the site. [MW]"""
    if "renewable_used_power" not in result:
        return xr.zeros_like(result["facility_power"])
    variables.check_variables(result, "renewable_used_power")
    gained = result["renewable_used_power"].sum("renewable", skipna=False)
    used = (gained - result["grid_export_power"]).clip(min=0.0)
    return xr.DataArray(np.minimum(used, result["facility_power"]))


def _total(rate: xr.DataArray) -> float:
    """Return the sum of an hourly rate; NaN if any of it is unknown."""
    return float((rate * rate["duration"]).sum(skipna=False))


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0.0 else float("nan")


HOT_DAY_MEAN_C: Final = 24.0
"""Daily mean from which a day has cooling degrees above :data:`COOLING_BASE_C`. [degC]"""

COOLING_BASE_C: Final = 21.0
"""Temperature from which cooling degrees are counted. [degC]"""


def cooling_degree_days(run: xr.Dataset, time_zone: str) -> float:
    """Return the cooling degree days: above 21 degC on days with a mean of 24 degC or more. [K d]

    Days are local calendar days; an incomplete day counts by its share.

    - ``run``: With ``air_temperature`` [degC] on ``time`` with ``duration`` [h].
    - ``time_zone``: IANA zone of the site.
    """
    local = pd.DatetimeIndex(run["time"].to_numpy()).tz_localize("UTC").tz_convert(time_zone)
    days, day = np.unique(local.tz_localize(None).normalize(), return_inverse=True)
    edges = [
        [local_midnight(pd.Timestamp(one) + pd.DateOffset(days=n), time_zone) for n in (0, 1)]
        for one in days
    ]
    length = run["duration"].to_numpy()
    covered = np.bincount(day, weights=length)
    mean = np.bincount(day, weights=length * run["air_temperature"].to_numpy()) / covered
    whole = np.diff(np.array(edges), axis=1)[:, 0] / HOUR
    return float(
        np.where(mean >= HOT_DAY_MEAN_C, (mean - COOLING_BASE_C) * covered / whole, 0.0).sum()
    )


UNDEFINED_BASIS: Final = "unknown: nothing was drawn that it is over"

METER_OPERATOR: Final = "the operator of its meter"
"""Source of a machine's value that no file contains."""


@dataclass(frozen=True)
class ReportItem:
    """One figure of a report.

    - ``key``: Its symbol in the regulation, or our name where it has none.
    - ``meaning``, ``unit``: What it measures.
    - ``value``: Its value; None if the operator must provide it, or its denominator is zero.
    - ``basis``: Source of the value, or who knows it.
    """

    key: str
    meaning: str
    unit: str
    value: float | None
    basis: str


def unknown_item(key: str, meaning: str, unit: str, *, to: str) -> ReportItem:
    """Return a figure that somebody else knows."""
    return ReportItem(key, meaning, unit, None, f"known by {to}")


def metered_item(key: str, meaning: str, energy: float, *, missing: Set[str]) -> ReportItem:
    """Return an energy figure of machines [kWh]; without a measurement it is unknown, and not 0."""
    if missing:
        return unknown_item(key, meaning, "kWh", to=METER_OPERATOR)
    return ReportItem(key, meaning, "kWh", energy, "run")


def carbon_items(site: Site, run: xr.Dataset, *, is_own_known: bool = True) -> Iterator[ReportItem]:
    """Yield the carbon accounts of a run.

    They are location-based with the mix's carbon intensity; market-based with a contract that
    matches hours; and the carbon-free share of own sun, wind and matched hours. The carbon-free
    share of the grid's mix does not count, as nobody else could claim it then.

    - ``run``: ``grid_import_power``, ``grid_export_power``, ``facility_power`` [MW] on ``time``
      with ``duration`` and, if known, ``renewable_used_power``, ``matched_power`` [MW] and
      ``carbon_intensity`` [kg MWh-1].
    - ``is_own_known``: Whether it contains the power of own sun, wind and generators.
    """
    hours, bought = run["duration"], run["grid_import_power"]
    if "carbon_intensity" in run:
        carbon = float((bought * run["carbon_intensity"]) @ hours)
        yield ReportItem("carbon", "carbon of the import", "kg", carbon, "run; location-based")
    contracts = site.machines_of(HourlyMatching)  # at most one
    is_matching_known = "matched_power" in run or all(one.band_power > 0.0 for one in contracts)
    matched = xr.zeros_like(bought)
    for contract in contracts:
        matched = matched + contract.matched_power(run)
    names = ", ".join(contract.name for contract in contracts)
    key, meaning = "carbon-market", "carbon of what no contract matches"
    for contract in contracts:
        above = float((bought - matched).clip(min=0.0) @ hours)
        carbon, basis = above * contract.residual_intensity, f"run and {names}; market-based"
        unknown = unknown_item(key, meaning, "kg", to=f"{names}: no file has matched_power")
        yield ReportItem(key, meaning, "kg", carbon, basis) if is_matching_known else unknown
    key, meaning = "carbon-free", "share of the energy free of carbon, hour by hour"
    if not (is_own_known and is_matching_known):
        who = (
            f"{names}: no file has matched_power"
            if is_own_known
            else "the operator of the meters of own power"
        )
        yield unknown_item(key, meaning, "1", to=who)
        return
    own = used_renewable_power(run)
    made = run["genset_output"].sum("genset") if "genset_output" in run else xr.zeros_like(own)
    whole = float((bought + own + made) @ hours)
    free = float((own + np.minimum(bought, matched)) @ hours)
    basis = f"run and {names}" if contracts else "run; own sun and wind only"
    share = free / whole if whole > 0.0 else None
    yield ReportItem(key, meaning, "1", share, basis if whole > 0.0 else UNDEFINED_BASIS)
