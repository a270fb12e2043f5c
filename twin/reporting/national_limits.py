"""The limits that a law sets the figures of data centres, and whether a site keeps them.

Advice for whoever files, not a judgement: laws ask for whole years and know exceptions. Every limit
is dated and names its source; the code knows none.
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
    """A limit of a figure, and the sites which it is for."""

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
            message = "give at_most or at_least, one of them"
            raise ValueError(message)
        return self

    @property
    def limit(self) -> float:
        """Return what the figure must not exceed, or reach. [1]"""
        return float(self.at_least or self.at_most or 0.0)

    def applies_from(self, opened: date) -> date | None:
        """Return the first day on which a site must keep it, None if it is for others.

        Parameters
        ----------
        opened
            First day of the site's operation.
        """
        is_old_enough = self.opened_before is None or opened < self.opened_before
        is_new_enough = self.opened_from is None or opened >= self.opened_from
        if not (is_old_enough and is_new_enough):
            return None
        reached = pd.Timestamp(opened) + pd.DateOffset(years=self.years_to_reach)
        first = max(self.valid_from, reached.date())
        return None if self.valid_to is not None and first >= self.valid_to else first


class NationalLimits(Declaration):
    """The duties of one country."""

    time_zones: Annotated[tuple[str, ...], ParameterDescription("of the sites that lie there")]
    note: Annotated[str, ParameterDescription("what else the law says")]
    duties: dict[str, NationalLimit]


@dataclass(frozen=True, kw_only=True)
class LimitAssessment:
    """A duty beside what a site did.

    Attributes
    ----------
    national_limit
        The limit.
    indicator_value
        The figure as the law counts it; NaN where it is not known, or the IT drew nothing. [1]
    applies_from
        First day on which the site must keep it.
    applies
        Whether that day is past as the run ends.
    is_met
        Whether the figure lies within its limit; None where that is not known from a run.
    """

    national_limit: NationalLimit
    indicator_value: float
    applies_from: date
    applies: bool
    is_met: bool | None


def assess_limits(
    site: Site, run: xr.Dataset, duties: Iterable[NationalLimit], *, opened: date
) -> tuple[LimitAssessment, ...]:
    """Return the duties of a site beside what it did, those first that bind first.

    Parameters
    ----------
    site
        The site.
    run
        What it did, as :func:`twin.reporting.eu_report.report_items` takes it.
    duties
        Those of its country.
    opened
        First day of its operation.

    Returns
    -------
    tuple of LimitAssessment
        Those that bind, or will bind, a site of that age after the run began.
    """
    begin, end = (_day(interval_edges(run)[at], site.time_zone) for at in (0, -1))
    told = legal_indicators(site, run)
    found = []
    for duty in duties:
        first = duty.applies_from(opened)
        if first is None or (duty.valid_to is not None and duty.valid_to <= begin):
            continue
        found.append(
            LimitAssessment(
                national_limit=duty,
                indicator_value=told[duty.figure],
                applies_from=first,
                applies=first < end,
                is_met=_is_kept(duty, told[duty.figure]),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.applies_from, one.national_limit.paragraph)))


def legal_indicators(site: Site, run: xr.Dataset) -> dict[str, float]:
    """Return the figures as the law counts them: what only lifts waste heat is no effort. [1]

    Parameters
    ----------
    site
        The site.
    run
        What it did; where others than its own machines hand heat over, all of its power counts.
    """
    told = indicators(run)
    spared = float((_lifting(site, run) * run["duration"]).sum())
    it = float((run["it_power"] * run["duration"]).sum())
    pue = float(told["pue"]) - (spared / it if it > 0.0 else 0.0)
    gone = missing_variables(site, run)
    erf = np.nan if "heat_reuse_power" in gone else float(told["erf"])
    ref = np.nan if "renewable_used_power" in gone else float(told["ref"])
    return {"PUE": pue, "ERF": erf, "REF": ref}


def _lifting(site: Site, run: xr.Dataset) -> xr.DataArray:
    """Return the electricity of what lifts waste heat: as told, or as the machines draw it. [MW]"""
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


def _is_kept(duty: NationalLimit, value: float) -> bool | None:
    """Return whether a figure keeps a duty; what no run knows of, as guarantees, adds to REF."""
    if np.isnan(value):
        return None
    if duty.at_most is not None:
        return value <= duty.at_most
    is_reached = value >= duty.limit
    return None if duty.figure == "REF" and not is_reached else is_reached


def _day(moment: np.datetime64, time_zone: str) -> date:
    """Return the day of the calendar, where the site stands, on which a moment lies."""
    return pd.Timestamp(moment).tz_localize("UTC").tz_convert(time_zone).date()
