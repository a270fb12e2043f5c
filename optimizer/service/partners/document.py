"""From a schedule that may leave to the document that grid partners get; pure."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from optimizer.flexibility import none
from optimizer.realtime.turning import metered
from optimizer.service.partners.parties import Sender
from optimizer.service.partners.record import LEAD_MIN, PlanErrors, gate
from telemetry.messages.feed_documents import (
    QUARTER_MS,
    CodedText,
    PlantStateQuality,
    SafeSchedule,
    ScheduleDraft,
    ScheduleInterval,
    ScheduleMeta,
    ScheduleSource,
)
from telemetry.messages.strict_json import MESSAGE_VERSION, to_milliseconds
from twin import time_axes
from twin.physics import FloatArray
from twin.site import Site
from twin.time_axes import HOUR, MINUTE, QUARTER_HOUR
from twin.variables import net_import

VALID_FOR: Final = np.timedelta64(60, "m")
"""How long a document may be relied on if nothing newer comes: four cycles."""

DIGITS: Final = 3
"""Digits of powers and energies behind the point. [1]"""

DOCUMENT: Final = CodedText(code="A14", text="Resource provider resource schedule")
PROCESS: Final = CodedText(code="A18", text="Intraday total")

BASELINE: Final = CodedText(
    code="nomination",
    text="The scheduled net import of the document that this partner had in force when the "
    "interval's gate closed or, if none was, of the next one that it accepted; before that, what "
    "is scheduled now.",
)

FLEXIBILITY: Final = (
    "Kept for an hour, counted on the careful side. Up: battery power whose level can be won back, "
    "and work of jobs that are here and can be put off without missing a deadline. Down: battery "
    "charging. Within the connection limits less the site's margin and the ramp left by the plan; "
    "none while the site is on hold. Up and down of one interval, or of neighbouring ones, share "
    "the same reserves: they do not add up."
)


@dataclass(frozen=True, kw_only=True)
class Label:
    """What is to be said of a schedule.

    Attributes
    ----------
    source
        Where it comes from.
    degraded
        Why it is not a fresh optimum on good data; empty if it is.
    quality
        How well the state of the plant was known.
    is_firm
        Whether the connection is firm.
    is_synthetic, is_simulated
        Whether prices, weather or plant are made up; whether the times are.
    valid_for
        How long it may be relied on.
    """

    source: ScheduleSource = "optimum"
    degraded: str = ""
    quality: PlantStateQuality = "good"
    is_firm: bool = True
    is_synthetic: bool = False
    is_simulated: bool = False
    valid_for: np.timedelta64 = VALID_FOR


@dataclass(frozen=True)
class Turn:
    """How a plant begins with a schedule.

    Attributes
    ----------
    at
        When the document is made, and the plant begins to turn to it.
    net_import
        What it takes from the grid then, less what it gives. [MW]
    """

    at: np.datetime64
    net_import: float


def document_of(
    site: Site,
    schedule: xr.Dataset,
    flexible: xr.Dataset,
    *,
    turn: Turn,
    errors: PlanErrors,
    label: Label,
    sender: Sender,
) -> ScheduleDraft:
    """Return the document of a schedule, without number and receiver.

    Parameters
    ----------
    site
        The site.
    schedule
        What is promised at the connection, from the first interval of the document on.
    flexible
        From :func:`optimizer.flexibility.flexibility`; while on hold it is not offered.
    turn
        How the plant begins with it.
    errors
        How far earlier plans were off.
    label
        What is to be said of the schedule.
    sender
        Who sends.

    Returns
    -------
    Plan
        For :meth:`telemetry.feed.publisher.SchedulePublisher.publish`: the quarter-hours until the
        same local wall time on the next day. Hours are split; beyond the end of the schedule its
        last value goes on. The baseline is the schedule; what is fixed towards a partner is put
        there as it is sent.
    """
    first = np.datetime64(schedule["time"].to_numpy()[0], "us")
    grid = time_axes.regular_axes(first, quarters(first, site.time_zone))
    starts = [to_milliseconds("schedule", start) for start in grid["time"].to_numpy()]
    created = to_milliseconds("schedule", turn.at)
    offered = none(schedule) if label.source == "hold" else flexible
    expected = _expected(site, schedule, grid, errors=errors, turn=turn)
    end = min(
        to_milliseconds("schedule", time_axes.interval_edges(schedule)[-1]), starts[-1] + QUARTER_MS
    )
    return ScheduleDraft(
        v=MESSAGE_VERSION,
        site=site.name,
        document_type=DOCUMENT,
        process_type=PROCESS,
        sender=sender.party,
        connection_point=sender.connection_point,
        bidding_zone=sender.bidding_zone,
        created=created,
        period_start=starts[0],
        period_end=starts[-1] + QUARTER_MS,
        resolution="PT15M",
        valid_until=to_milliseconds("schedule", turn.at + label.valid_for),
        gate_closure=_gate_closure(created, starts),
        intervals=_intervals(starts, expected | _offers(offered, schedule, grid)),
        meta=_meta(site, label, end),
    )


def quarters(first: np.datetime64, time_zone: str) -> int:
    """Return the number of quarter-hours until the same local wall time on the next day. [1]"""
    begin = pd.Timestamp(first, tz="UTC").tz_convert(time_zone)
    return int((time_axes.to_utc(begin + pd.DateOffset(days=1)) - first) / QUARTER_HOUR)


def _quarterly(values: xr.DataArray, schedule: xr.Dataset, grid: xr.Dataset) -> FloatArray:
    """Return means over quarter-hours; beyond the end of the schedule its last value goes on."""
    edges = time_axes.interval_edges(schedule)
    place = np.searchsorted(edges, grid["time"].to_numpy(), side="right") - 1
    return values.to_numpy().astype(float)[np.clip(place, 0, len(edges) - 2)]


def _expected(
    site: Site, schedule: xr.Dataset, grid: xr.Dataset, *, errors: PlanErrors, turn: Turn
) -> dict[str, FloatArray]:
    """Return net import as it is ordered and as it is metered, with its band. [MW]"""
    planned = net_import(schedule)
    setpoints, starts = _quarterly(planned, schedule, grid), grid["time"].to_numpy()
    since = float((turn.at - starts[0]) / MINUTE)
    net = metered(setpoints, before=turn.net_import, since=since)
    margin = site.margins.power * site.grid.import_limit
    low, high = errors.band((starts - turn.at) / HOUR, margin=margin)
    least = np.minimum(-site.grid.export_limit, net)
    most = np.maximum(site.grid.import_limit, net)
    return {
        "setpoint": setpoints,
        "net": net,
        "p10": np.maximum(net + low, least),
        "p90": np.minimum(net + high, most),
    }


def _offers(flexible: xr.Dataset, schedule: xr.Dataset, grid: xr.Dataset) -> dict[str, FloatArray]:
    """Return what is offered in each quarter-hour; beyond the end of the plan nothing."""
    is_planned = grid["time"].to_numpy() < time_axes.interval_edges(schedule)[-1]
    return {
        str(name): np.where(is_planned, _quarterly(flexible[name], schedule, grid), 0.0)
        for name in flexible.data_vars
    }


def _intervals(starts: list[int], values: dict[str, FloatArray]) -> list[ScheduleInterval]:
    rounded = {name: np.round(row, DIGITS) + 0.0 for name, row in values.items()}
    for name in ("reserve_up_power", "reserve_down_power"):  # never more than there is
        rounded[name] = np.floor(values[name] * 10**DIGITS) / 10**DIGITS
    columns = {name: row.tolist() for name, row in rounded.items()}
    return [
        ScheduleInterval(
            position=i + 1,
            start=start,
            scheduled_mw=columns["net"][i],
            setpoint_mw=columns["setpoint"][i],
            baseline_mw=columns["net"][i],
            p10_mw=columns["p10"][i],
            p90_mw=columns["p90"][i],
            flexibility_up_mw=columns["reserve_up_power"][i],
            flexibility_down_mw=columns["reserve_down_power"][i],
            max_duration_h=columns["reserve_duration"][i],
            recovery_mwh=columns["recovery_energy"][i],
            ramp_up_mw_min=columns["ramp_up_limit"][i],
            ramp_down_mw_min=columns["ramp_down_limit"][i],
        )
        for i, start in enumerate(starts)
    ]


def _gate_closure(created: int, starts: list[int]) -> int:
    """Return when the next gate closes: that of the first interval whose baseline is open."""
    gates = [gate(start) for start in starts]
    return next((closes for closes in gates if closes > created), gates[-1])


def _meta(site: Site, label: Label, planned_until: int) -> ScheduleMeta:
    grid = site.grid
    degraded = label.degraded or (f"source is {label.source}" if label.source != "optimum" else "")
    return ScheduleMeta(
        source=label.source,
        degraded=degraded[:1000] or None,
        quality=label.quality,
        is_firm=label.is_firm,
        is_synthetic=label.is_synthetic,
        is_simulated=label.is_simulated,
        baseline_method=BASELINE,
        flexibility_method=FLEXIBILITY,
        up_means="net_import_falls",
        down_means="net_import_rises",
        connection_limit_mw={"import": grid.import_limit, "export": grid.export_limit},
        gate_closure_lead_min=LEAD_MIN,
        planned_until=planned_until,
        safe_schedule=SafeSchedule(
            code="connection",
            text="No power is promised any more: net import stays within the limits of the "
            "connection and changes no faster than its ramp; no flexibility is offered.",
            import_max_mw=grid.import_limit,
            export_max_mw=grid.export_limit,
            ramp_mw_min=grid.ramp,
        ),
    )
