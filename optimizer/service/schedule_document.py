"""The schedule document for grid partners."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from optimizer.planner.flexibility import no_flexibility
from optimizer.realtime.intra_interval import metered_means
from optimizer.service.baselines_and_plan_errors import (
    BASELINE_GATE_LEAD_MIN,
    PlanErrors,
    gate_closure_ms,
)
from telemetry.feed.partners import DocumentSender
from telemetry.messages.feed_documents import (
    PUBLIC_TEXTS,
    QUARTER_MS,
    CodedText,
    PlantStateQuality,
    PublicReason,
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

DOCUMENT_VALIDITY: Final = np.timedelta64(60, "m")
"""Validity of a document if no newer one follows: four decision cycles."""

DOCUMENT_DECIMALS: Final = 3
"""Decimals of powers and energies. [1]"""

DOCUMENT_TYPE: Final = CodedText(code="A14", text="Resource provider resource schedule")
PROCESS_TYPE: Final = CodedText(code="A18", text="Intraday total")

BASELINE_METHOD: Final = CodedText(
    code="nomination",
    text="The scheduled net import of the document that this partner had in force when the "
    "interval's gate closed or, if none was, of the next one that it accepted; before that, what "
    "is scheduled now.",
)

FLEXIBILITY_METHOD: Final = (
    "Kept for an hour, counted on the careful side. Up: battery power whose level can be won back, "
    "and work of jobs that are here and can be put off without missing a deadline. Down: battery "
    "charging. Within the connection limits less the site's margin and the ramp left by the plan; "
    "none while the site is on hold. Up and down of one interval, or of neighbouring ones, share "
    "the same reserves: they do not add up."
)


@dataclass(frozen=True, kw_only=True)
class ScheduleLabel:
    """Metadata of a schedule.

    - `degraded`: why it is not a new optimum on good data; empty if it is.
    - `is_synthetic`, `is_simulated`: whether prices, weather or plant are synthetic; whether the
      times are simulated.
    """

    source: ScheduleSource = "optimum"
    degraded: tuple[PublicReason, ...] = ()
    quality: PlantStateQuality = "good"
    is_firm: bool = True
    is_synthetic: bool = False
    is_simulated: bool = False
    valid_for: np.timedelta64 = DOCUMENT_VALIDITY


@dataclass(frozen=True)
class ScheduleStartState:
    """State of the plant at the start of a schedule.

    - `document_creation_time`: creation time of the document, when the plant begins to follow it.
    - `net_import`: net import at that time. [MW]
    """

    document_creation_time: np.datetime64
    net_import: float


def build_document(
    site: Site,
    schedule: xr.Dataset,
    flexibility: xr.Dataset,
    *,
    ramp_start: ScheduleStartState,
    errors: PlanErrors,
    label: ScheduleLabel,
    sender: DocumentSender,
) -> ScheduleDraft:
    """Return the document of a schedule, without number and receiver.

    - `schedule`: schedule from the first interval of the document on.
    - `flexibility`: from :func:`optimizer.planner.flexibility.estimate_flexibility`; under HOLD
      none is offered.
    - `ramp_start`: state of the plant at its start.

    The document covers the quarter-hours until the same local wall time on the next day. Hours are
    split; beyond the end of the schedule its last value continues. The baseline is the schedule;
    values fixed towards a partner replace it when the document is sent.
    """
    first = np.datetime64(schedule["time"].to_numpy()[0], "us")
    grid = time_axes.regular_axes(first, intervals_until_same_time_tomorrow(first, site.time_zone))
    starts = [to_milliseconds("schedule", start) for start in grid["time"].to_numpy()]
    created = to_milliseconds("schedule", ramp_start.document_creation_time)
    offered = no_flexibility(schedule) if label.source == "hold" else flexibility
    expected = _expected(site, schedule, grid, errors=errors, turn=ramp_start)
    end = min(
        to_milliseconds("schedule", time_axes.interval_edges(schedule)[-1]), starts[-1] + QUARTER_MS
    )
    return ScheduleDraft(
        v=MESSAGE_VERSION,
        site=site.name,
        document_type=DOCUMENT_TYPE,
        process_type=PROCESS_TYPE,
        sender=sender.party,
        connection_point=sender.connection_point,
        bidding_zone=sender.bidding_zone,
        created=created,
        period_start=starts[0],
        period_end=starts[-1] + QUARTER_MS,
        resolution="PT15M",
        valid_until=to_milliseconds(
            "schedule", ramp_start.document_creation_time + label.valid_for
        ),
        gate_closure=_gate_closure(created, starts),
        intervals=_intervals(starts, expected | _offered_flexibility(offered, schedule, grid)),
        meta=_meta(site, label, end),
    )


def intervals_until_same_time_tomorrow(first: np.datetime64, time_zone: str) -> int:
    """Return the number of quarter-hours until the same local wall time on the next day. [1]"""
    begin = pd.Timestamp(first, tz="UTC").tz_convert(time_zone)
    return int((time_axes.to_utc(begin + pd.DateOffset(days=1)) - first) / QUARTER_HOUR)


def _quarterly(values: xr.DataArray, schedule: xr.Dataset, grid: xr.Dataset) -> FloatArray:
    """Return means over quarter-hours; beyond the end of the schedule its last value continues."""
    edges = time_axes.interval_edges(schedule)
    interval = np.searchsorted(edges, grid["time"].to_numpy(), side="right") - 1
    return values.to_numpy().astype(float)[np.clip(interval, 0, len(edges) - 2)]


def _expected(
    site: Site,
    schedule: xr.Dataset,
    grid: xr.Dataset,
    *,
    errors: PlanErrors,
    turn: ScheduleStartState,
) -> dict[str, FloatArray]:
    """Return net import as ordered and as metered, with its band. [MW]"""
    planned = net_import(schedule)
    setpoints, starts = _quarterly(planned, schedule, grid), grid["time"].to_numpy()
    since = float((turn.document_creation_time - starts[0]) / MINUTE)
    net = metered_means(setpoints, before=turn.net_import, since=since)
    margin = site.margins.power * site.grid_connection.import_limit
    low, high = errors.error_band((starts - turn.document_creation_time) / HOUR, margin=margin)
    lowest = np.minimum(-site.grid_connection.export_limit, net)
    highest = np.maximum(site.grid_connection.import_limit, net)
    return {
        "setpoint": setpoints,
        "net": net,
        "p10": np.maximum(net + low, lowest),
        "p90": np.minimum(net + high, highest),
    }


def _offered_flexibility(
    flexible: xr.Dataset, schedule: xr.Dataset, grid: xr.Dataset
) -> dict[str, FloatArray]:
    """Return the flexibility in each quarter-hour; none beyond the end of the plan."""
    is_planned = grid["time"].to_numpy() < time_axes.interval_edges(schedule)[-1]
    return {
        str(name): np.where(is_planned, _quarterly(flexible[name], schedule, grid), 0.0)
        for name in flexible.data_vars
    }


def _intervals(starts: list[int], values: dict[str, FloatArray]) -> list[ScheduleInterval]:
    rounded = {name: np.round(row, DOCUMENT_DECIMALS) + 0.0 for name, row in values.items()}
    for name in (
        "reserve_up_power",
        "reserve_down_power",
    ):  # rounded down: never more than available
        rounded[name] = np.floor(values[name] * 10**DOCUMENT_DECIMALS) / 10**DOCUMENT_DECIMALS
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
    gates = [gate_closure_ms(start) for start in starts]
    return next((closes for closes in gates if closes > created), gates[-1])


def _meta(site: Site, label: ScheduleLabel, planned_until: int) -> ScheduleMeta:
    grid = site.grid_connection
    return ScheduleMeta(
        source=label.source,
        degraded=" ".join(PUBLIC_TEXTS[reason] for reason in label.degraded) or None,
        degraded_codes=[reason.value for reason in label.degraded],
        quality=label.quality,
        is_firm=label.is_firm,
        is_synthetic=label.is_synthetic,
        is_simulated=label.is_simulated,
        baseline_method=BASELINE_METHOD,
        flexibility_method=FLEXIBILITY_METHOD,
        up_means="net_import_falls",
        down_means="net_import_rises",
        connection_limit_mw={"import": grid.import_limit, "export": grid.export_limit},
        gate_closure_lead_min=BASELINE_GATE_LEAD_MIN,
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
