"""Legal limits of data centre indicators, and whether a site meets them.

This is advice, not a judgement: laws ask for whole years and have exceptions. Every limit is dated
and names its source; the code contains none.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal, Self

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field, model_validator

from twin import variables
from twin.equipment import HeatReuse
from twin.markets.tariffs import DatedRule
from twin.reporting.indicators import indicators, missing_variables
from twin.site import Site
from twin.time_axes import interval_edges
from twin.units import Declaration, ParameterDescription


class NationalLimit(DatedRule):
    """A limit of an indicator, and the sites that it applies to."""

    paragraph: Annotated[str, ParameterDescription("where the law says so")]
    figure: Literal["PUE", "ERF", "REF"]
    at_most: Annotated[float | None, Field(gt=0.0)] = None
    at_least: Annotated[float | None, Field(gt=0.0)] = None
    opened_from: Annotated[
        date | None, ParameterDescription("for sites in operation since then or later")
    ] = None
    opened_before: Annotated[date | None, ParameterDescription("for sites in operation before")] = (
        None
    )
    years_to_reach: Annotated[
        int, Field(ge=0, le=100), ParameterDescription("since the site opened")
    ] = 0

    @model_validator(mode="after")
    def _has_one_limit(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("give at_most or at_least, one of them")
        return self

    @property
    def limit(self) -> float:
        """The value that the indicator must not exceed, or must reach. [1]"""
        return float(self.at_least or self.at_most or 0.0)

    def applies_from(self, opened: date) -> date | None:
        """Return the first day on which a site opened on some day must meet it; None if never."""
        is_old_enough = self.opened_before is None or opened < self.opened_before
        is_new_enough = self.opened_from is None or opened >= self.opened_from
        if not (is_old_enough and is_new_enough):
            return None
        reached = pd.Timestamp(opened) + pd.DateOffset(years=self.years_to_reach)
        first = max(self.valid_from, reached.date())
        return None if self.valid_to is not None and first >= self.valid_to else first


class NationalLimits(Declaration):
    """The limits of one country."""

    time_zones: Annotated[tuple[str, ...], ParameterDescription("of the sites that lie there")]
    note: Annotated[str, ParameterDescription("what else the law says")]
    duties: dict[str, NationalLimit]


@dataclass(frozen=True, kw_only=True)
class LimitAssessment:
    """A limit, and the indicator of a site.

    - ``national_limit``: The limit.
    - ``indicator_value``: The indicator as the law counts it; NaN if unknown, or if the IT drew
      nothing. [1]
    - ``applies_from``: First day on which the site must meet it.
    - ``applies``: Whether that day has passed at the end of the run.
    - ``is_met``: Whether the indicator meets its limit; None if a run cannot show it.
    """

    national_limit: NationalLimit
    indicator_value: float
    applies_from: date
    applies: bool
    is_met: bool | None


def assess_limits(
    site: Site, run: xr.Dataset, limits: Iterable[NationalLimit], *, opened: date
) -> tuple[LimitAssessment, ...]:
    """Return the limits that apply, or will apply, to a site, in the order of their first day.

    - ``run``: As for :func:`twin.reporting.eu_report.report_items`.
    - ``limits``: Limits of its country.
    - ``opened``: First day of its operation.
    """
    begin, end = (_day(interval_edges(run)[at], site.time_zone) for at in (0, -1))
    values = legal_indicators(site, run)
    found = []
    for limit in limits:
        first = limit.applies_from(opened)
        if first is None or (limit.valid_to is not None and limit.valid_to <= begin):
            continue
        found.append(
            LimitAssessment(
                national_limit=limit,
                indicator_value=values[limit.figure],
                applies_from=first,
                applies=first < end,
                is_met=_is_met(limit, values[limit.figure]),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.applies_from, one.national_limit.paragraph)))


def legal_indicators(site: Site, run: xr.Dataset) -> dict[str, float]:
    """Return the indicators as the law counts them, without the electricity of heat reuse. [1]

    If others than its own machines hand heat over, all of their power is deducted.
    """
    values = indicators(run)
    spared = float((_heat_pump_power(site, run) * run["duration"]).sum())
    it = float((run["it_power"] * run["duration"]).sum())
    pue = float(values["pue"]) - (spared / it if it > 0.0 else 0.0)
    missing = missing_variables(site, run)
    erf = np.nan if "heat_reuse_power" in missing else float(values["erf"])
    ref = np.nan if "renewable_used_power" in missing else float(values["ref"])
    return {"PUE": pue, "ERF": erf, "REF": ref}


def _heat_pump_power(site: Site, run: xr.Dataset) -> xr.DataArray:
    """Return the electricity that lifts waste heat, measured or by physics. [MW]"""
    none = xr.zeros_like(run["facility_power"])
    if "heat_reuse_draw" in run:
        variables.check_variables(run, "heat_reuse_draw")
        return none + run["heat_reuse_draw"].sum("heat_reuse")
    if "heat_reuse_power" not in run:
        return none
    given = run["heat_reuse_power"]
    air = run["air_temperature"].to_numpy() if "air_temperature" in run else None
    return none + sum(
        pump.power(given.sel(heat_reuse=pump.name).to_numpy(), air)
        for pump in site.machines_of(HeatReuse)
        if pump.name in given["heat_reuse"]
    )


def _is_met(limit: NationalLimit, value: float) -> bool | None:
    """Return whether an indicator meets a limit; guarantees of origin may still raise REF."""
    if np.isnan(value):
        return None
    if limit.at_most is not None:
        return value <= limit.at_most
    is_reached = value >= limit.limit
    return None if limit.figure == "REF" and not is_reached else is_reached


def _day(moment: np.datetime64, time_zone: str) -> date:
    """Return the local calendar day of a time."""
    return pd.Timestamp(moment).tz_localize("UTC").tz_convert(time_zone).date()
