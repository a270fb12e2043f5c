"""The yearly figures that the European Union requires of data centres, from a run of a site.

They follow the annexes of Delegated Regulation (EU) 2024/1364 by secondary sources: check them, and
later changes, before you file. Figures that no run contains are left to the operator.
"""

from collections.abc import Iterator, Set
from dataclasses import replace
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.equipment import Battery, HeatReuse, ITHall, Renewable
from twin.errors import IssueCode, ProblemError, ValidationIssue
from twin.markets.tariffs import year_bounds
from twin.reporting.indicators import (
    COOLING_POWER_VARIABLES,
    INDICATOR_VARIABLES,
    METER_OPERATOR,
    UNDEFINED_BASIS,
    ReportItem,
    carbon_items,
    cooling_degree_days,
    indicators,
    metered_item,
    missing_variables,
    unknown_item,
    used_renewable_power,
)
from twin.site import Site
from twin.time_axes import HOUR
from twin.units import KW_PER_MW, format_minute, format_unit

SUMMED_VARIABLES: Final = (
    *(*INDICATOR_VARIABLES, *COOLING_POWER_VARIABLES, "genset_output", "heat_reuse_power"),
    *("renewable_used_power", "matched_power", "carbon_intensity"),
)
"""Variables that figures sum, as far as a run has them; none may be negative."""

AVERAGED_VARIABLES: Final = ("air_temperature", "rack_inlet_temperature")
"""Variables that figures average, as far as a run has them."""

NEGATIVE_TOLERANCE: Final = 1e-9
"""Rounding error of a rate below 0, in its own unit."""


def year_length(run: xr.Dataset, time_zone: str) -> float:
    """Return the length of the local calendar year at the middle of a run. [h]"""
    begin, end = year_bounds(run["time"].to_numpy()[run.sizes["time"] // 2], time_zone)
    return float((end - begin) / HOUR)


def report_items(
    site: Site, run: xr.Dataset, *, carbon_intensity: xr.DataArray | None = None
) -> tuple[ReportItem, ...]:
    """Return the figures of a report on a run.

    Parameters
    ----------
    site
        The site.
    run
        As for :func:`twin.indicators`; with the air temperature it also gives cooling degree days.
        Intervals with missing values must be removed, see :func:`missing_values`.
    carbon_intensity
        Carbon intensity of the grid on the same ``time``. [kg MWh-1]

    Returns
    -------
    tuple of ReportItem
        In the order of the annexes: installed capacity, consumption, indicators.

    Raises
    ------
    UnitError
        If a variable or its unit is missing.
    ProblemError
        If a value is not finite, a rate is negative, or the IT drew more than the site.
    """
    whole = run if carbon_intensity is None else run.assign(carbon_intensity=carbon_intensity)
    variables.check_variables(
        whole, *dict.fromkeys((*INDICATOR_VARIABLES, *report_variables(whole)))
    )
    issues = [
        IssueCode.NOT_FINITE.issue(
            _first(whole, name, is_missing),
            found="no number",
            expected="a finite number",
            remedy="remove the interval, or add the value",
        )
        for name, is_missing in missing_values(whole).items()
        if is_missing.any()
    ]
    ProblemError.raise_if_any(
        "run", [*issues, *negative_rate_issues(whole), *_it_share_issues(whole)]
    )
    found = indicators(run, carbon_intensity=carbon_intensity)
    missing = missing_variables(site, run)
    return (
        *_installed(site),
        *_used(site, run, missing),
        *_renewable(site, run, missing),
        *_indicators(found, missing),
        *carbon_items(
            site, whole, is_own_known=not {"renewable_used_power", "genset_output"} & missing
        ),
    )


def report_variables(run: xr.Dataset) -> tuple[str, ...]:
    """Return the variables of a run that figures use."""
    return tuple(name for name in (*SUMMED_VARIABLES, *AVERAGED_VARIABLES) if name in run)


def missing_values(run: xr.Dataset) -> dict[str, np.ndarray]:
    """Return in which intervals a variable is not finite, for any owner."""
    known = {name: xr.DataArray(np.isfinite(run[name])) for name in report_variables(run)}
    return {name: _anywhere(~is_known) for name, is_known in known.items()}


def negative_rate_issues(run: xr.Dataset) -> list[ValidationIssue]:
    """Return an issue for each negative rate, at its first time."""
    return [
        IssueCode.OUT_OF_RANGE.issue(
            _first(run, name, is_below),
            found=f"{float(run[name].min()):g} {format_unit(run[name].attrs['units'])}"
            " at the least",
            expected="0 or more",
            remedy="correct the sign, or write 0",
        )
        for name in SUMMED_VARIABLES
        if name in run and (is_below := _anywhere(run[name] < -NEGATIVE_TOLERANCE)).any()
    ]


def _it_share_issues(run: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield an issue if the IT drew more than the whole site: no PUE is below 1."""
    inner, whole = _sum(run, "it_power"), _sum(run, "facility_power")
    if inner > whole * (1.0 + NEGATIVE_TOLERANCE):
        yield IssueCode.INCONSISTENT.issue(
            "it_power",
            found=f"{inner:,.6g} MWh, of {whole:,.6g} MWh of the whole site",
            expected="at most the energy of the whole site",
            remedy="check both meters and their units",
        )


def _anywhere(holds: xr.DataArray) -> np.ndarray:
    """Return whether a condition holds for any owner, in each interval."""
    return holds.any([dim for dim in holds.dims if dim != "time"]).to_numpy()


def _first(run: xr.Dataset, name: str, holds: np.ndarray) -> str:
    """Return the location of the first time at which a condition holds."""
    return f"{name}, {format_minute(run['time'].to_numpy()[int(np.argmax(holds))])}"


def _installed(site: Site) -> Iterator[ReportItem]:
    power = sum(hall.full_power for hall in site.machines_of(ITHall))
    yield ReportItem(
        "P_IT", "installed power demand of the IT", "kW", KW_PER_MW * power, "site file"
    )
    batteries = [b.capacity for b in site.machines_of(Battery) if b.local_controller]
    meaning = "battery capacity that may serve the grid"
    yield ReportItem("C_BtG", meaning, "kWh", KW_PER_MW * sum(batteries, 0.0), "site file")


def _used(site: Site, run: xr.Dataset, missing: Set[str]) -> Iterator[ReportItem]:
    energy = "energy of the whole site, own generation included"
    yield ReportItem("E_DC", energy, "kWh", KW_PER_MW * _sum(run, "facility_power"), "run")
    inner = KW_PER_MW * _sum(run, "it_power")
    yield ReportItem("E_IT", "energy of the IT, at the outputs of the UPS", "kWh", inner, "run")
    backup = "energy of backup generators"
    yield metered_item(
        "E_DC-BG",
        backup,
        KW_PER_MW * _sum(run, "genset_output"),
        missing={"genset_output"} & missing,
    )
    cooling = KW_PER_MW * sum(_sum(run, name) for name in COOLING_POWER_VARIABLES)
    plants = "energy of cooling plants, CDU pumps and hall fans"
    yield metered_item("cooling", plants, cooling, missing={*COOLING_POWER_VARIABLES} & missing)
    yield ReportItem("W_IN", "water taken in", "m3", _sum(run, "water_use"), "run")
    yield unknown_item("W_IN-POT", "of it potable", "m3", to="the water contract")
    reused = _sum(run, "heat_reuse_power")
    yield metered_item(
        "E_REUSE", "heat reused", KW_PER_MW * reused, missing={"heat_reuse_power"} & missing
    )
    if reused > 0.0:
        warmth, meaning = _temperature_of_heat(site, run), "mean temperature of that heat"
        if warmth is None:
            yield unknown_item("T_WH", meaning, "degC", to="the operator of the heat meter")
        else:
            yield ReportItem("T_WH", meaning, "degC", warmth, "site file, by heat")
    if "rack_inlet_temperature" in run:
        inlet = float(run["rack_inlet_temperature"].weighted(run["duration"]).mean())
        yield ReportItem("T_IN", "mean temperature of the air into racks", "degC", inlet, "run")
    if "air_temperature" in run:
        degrees = cooling_degree_days(run, site.time_zone)
        yield ReportItem("CDD", "cooling degree days, by Eurostat", "degC d", degrees, "run")


def _renewable(site: Site, run: xr.Dataset, missing: Set[str]) -> Iterator[ReportItem]:
    own, meaning = used_renewable_power(run), "renewable energy made on site and used there"
    energy = KW_PER_MW * float(own @ run["duration"])
    figure = metered_item("E_RES-OOS", meaning, energy, missing={"renewable_used_power"} & missing)
    bought = [source.name for source in site.machines_of(Renewable) if source.price > 0.0]
    if bought and figure.value:  # site files do not contain their location
        paid = f"with {', '.join(bought)}, paid by contract: E_RES-PPA if not on site"
        figure = replace(figure, basis=f"{figure.basis}; {paid}")
    yield figure
    yield unknown_item(
        "E_RES-PPA", "renewable energy by purchase agreements", "kWh", to="the contracts"
    )
    yield unknown_item(
        "E_RES-GOO", "renewable energy by guarantees of origin", "kWh", to="the registry"
    )


def _indicators(found: xr.Dataset, missing: Set[str]) -> Iterator[ReportItem]:
    over = {"erf": "heat_reuse_power", "ref": "renewable_used_power"}
    own = "run; without further purchase agreements and guarantees of origin"
    words = {
        "pue": ("PUE", "energy of the site over that of the IT, category 1 (UPS outputs)", "run"),
        "wue": ("WUE", "water over the energy of the IT", "run"),
        "erf": ("ERF", "heat reused over the energy of the site", "run"),
        "ref": ("REF", "renewable energy over that of the site", own),
        "cue": ("CUE", "carbon of the import over the energy of the IT", "run; location-based"),
    }
    for name, (key, meaning, basis) in words.items():
        if name in found:
            value, unit = float(found[name]), str(found[name].attrs["units"])
            if over.get(name) in missing:
                yield unknown_item(key, meaning, unit, to=METER_OPERATOR)
            elif np.isfinite(value):
                yield ReportItem(key, meaning, unit, value, basis)
            else:
                yield ReportItem(
                    key=key, meaning=meaning, unit=unit, value=None, basis=UNDEFINED_BASIS
                )


def _sum(run: xr.Dataset, name: str) -> float:
    """Return the sum of a rate over the run and all its owners; 0 if it is absent."""
    return float((run[name] * run["duration"]).sum(skipna=False)) if name in run else 0.0


def _temperature_of_heat(site: Site, run: xr.Dataset) -> float | None:
    """Return the mean supply temperature of the reused heat, weighted by heat. [degC]

    It is None if other machines than the site's, such as customers' meters, hand it over.
    """
    pumps = {pump.name: pump for pump in site.machines_of(HeatReuse)}
    names = run["heat_reuse_power"]["heat_reuse"].to_numpy().tolist()
    if not pumps.keys() >= set(names):
        return None
    air = run["air_temperature"].to_numpy() if "air_temperature" in run else None
    heat = warmth = 0.0
    for pump in (pumps[name] for name in names):
        given = (run["heat_reuse_power"].sel(heat_reuse=pump.name) * run["duration"]).to_numpy()
        supply = pump.supply_temperature if air is None else pump.network_supply_temperature(air)
        heat += float(given.sum())
        warmth += float((given * supply).sum())
    return warmth / heat
