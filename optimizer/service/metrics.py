"""Metrics for Prometheus, computed from one status of the service per scrape.

Names end in their base units (watts, joules, seconds), by the convention of Prometheus. Nothing is
stored between scrapes or registered globally. ``docs/reference/status.md`` lists :data:`METRICS`.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from optimizer.service.daemon import SiteService
from optimizer.service.status import (
    AlarmCode,
    Column,
    DecisionStatus,
    FailureStatus,
    LinkState,
    Mode,
    PartnerFeedStatus,
    ServiceStatus,
    Severity,
    SourceName,
)

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
"""Media type of the text."""

WATTS_PER_MEGAWATT: Final = 1e6

JOULES_PER_MEGAWATT_HOUR: Final = 3.6e9

SERVICE_INFO_METRIC: Final = ("info", "What runs here.", ("site", "mode", "clock", "is_synthetic"))
"""Name, meaning and labels of the metric that describes the service; its mode is as started."""

type Samples = Iterable[tuple[str, float | None]]
"""Label and value of each sample; None is left out."""


@dataclass(frozen=True)
class StatusMetric:
    """A metric of the status.

    - `name`: without the prefix ``gigatwin_``.
    - `help_text`: its meaning.
    - `read_value`: returns its value, or with a ``label`` its samples; None is left out.
    - `is_counter`: whether it counts since the start; otherwise it is a gauge.
    """

    name: str
    help_text: str
    read_value: Callable[[ServiceStatus], float | Samples | None]
    label: str = ""
    is_counter: bool = False

    def family(self, status: ServiceStatus) -> Metric:
        """Return the metric with its samples."""
        kind = CounterMetricFamily if self.is_counter else GaugeMetricFamily
        labels = [self.label] if self.label else []
        family = kind(f"gigatwin_{self.name}", self.help_text, labels=labels)
        found = self.read_value(status)
        for label, value in found if isinstance(found, Iterable) else [("", found)]:
            if value is not None:
                family.add_metric([label] if self.label else [], value)
        return family


def metrics_text(service: SiteService) -> bytes:
    """Return all metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_StatusCollector(service))
    return generate_latest(registry)


class _StatusCollector(Collector):
    """Collector of one scrape."""

    def __init__(self, service: SiteService) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        status = self._service.status()
        is_ready = not self._service.readiness_problems()
        yield StatusMetric("ready", "Whether nothing is missing.", lambda _: is_ready).family(
            status
        )
        name, text, labels = SERVICE_INFO_METRIC
        info = GaugeMetricFamily(f"gigatwin_{name}", text, labels=labels)
        started = Mode.SHADOW if status.is_shadow else Mode.RUN
        info.add_metric(
            [status.site, started.value, status.clock.value, str(status.is_synthetic)], 1
        )
        yield info
        for metric in METRICS:
            yield metric.family(status)


def _flags(values: Iterable[StrEnum | str], present: str | None) -> Samples:
    return [(str(value), value == present) for value in values]


def _timestamp(text: str | None) -> float | None:
    """Return an ISO 8601 time as seconds since 1970. [s]"""
    return None if text is None else datetime.fromisoformat(text).timestamp()


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _watts(column: Column | None, place: int) -> float | None:
    return _scaled(column[place] if column else None, WATTS_PER_MEGAWATT)


def _joules(column: Column | None) -> float | None:
    return _scaled(column[-1] if column else None, JOULES_PER_MEGAWATT_HOUR)


def _decision(
    metric: str, text: str, read: Callable[[DecisionStatus], float | None]
) -> StatusMetric:
    """Return a metric of the last decision."""
    return StatusMetric(metric, text, lambda s: read(s.decision) if s.decision else None)


def _partners(
    metric: str, text: str, read: Callable[[PartnerFeedStatus], float | None]
) -> StatusMetric:
    """Return a metric of each partner."""
    return StatusMetric(
        metric, text, lambda s: [(one.partner, read(one)) for one in s.feed], label="partner"
    )


def _acknowledgement(state: str) -> StatusMetric:
    """Return whether the acknowledgement of each partner is in a state."""
    text = f"Whether the acknowledgement is {state}."
    return _partners(f"feed_{state}", text, lambda one: one.state == state)


def _ride_through(
    name: str, text: str, read: Callable[[FailureStatus], float | None]
) -> StatusMetric:
    """Return a metric of each failure, from minutes; no sample if no limit is reached."""
    return StatusMetric(
        name,
        text,
        lambda s: [
            (one.failure, _scaled(read(one), 60.0))
            for one in (s.failures.rows if s.failures else ())
        ],
        "failure",
    )


def _jobs(status: ServiceStatus) -> Samples:
    jobs = status.jobs
    if jobs is None:
        return ()
    return (("running", jobs.running), ("waiting", jobs.waiting), ("late", jobs.late))


METRICS: Final = (
    StatusMetric("mode", "Whether the mode is this one.", lambda s: _flags(Mode, s.mode), "mode"),
    StatusMetric(
        "link", "Whether the link is this one.", lambda s: _flags(LinkState, s.link), "link"
    ),
    StatusMetric(
        "clock_timestamp_seconds", "Time of the service's clock.", lambda s: _timestamp(s.time)
    ),
    StatusMetric("hold", "Whether a person holds the optimiser.", lambda s: s.hold is not None),
    StatusMetric(
        "hold_age_seconds",
        "Time since HOLD, by the wall clock as it is.",
        lambda s: time.time() - (_timestamp(s.hold.since) or 0.0) if s.hold else None,
    ),
    StatusMetric(
        "decision_source",
        "Where the last decision comes from.",
        lambda s: _flags(get_args(SourceName.__value__), s.decision.source if s.decision else None),
        "source",
    ),
    _decision(
        "decision_timestamp_seconds",
        "Service time of the last decision.",
        lambda decision: _timestamp(decision.time),
    ),
    _decision("decision_seconds", "Time the last decision took.", lambda one: one.seconds),
    _decision("schedule_revision", "Revision published last.", lambda one: one.revision),
    _decision("decision_cost_euros", "Cost of the last plan.", lambda one: one.cost_eur),
    StatusMetric(
        "account_cost_euros",
        "Cost of the last plan by account.",
        lambda s: s.decision.accounts.items() if s.decision else (),
        "account",
    ),
    StatusMetric(
        "binding_limits",
        "Limits that bind the last plan.",
        lambda s: len(s.decision.binding) if s.decision else 0,
    ),
    _partners("feed_revision", "Revision sent last.", lambda one: one.revision),
    _partners(
        "feed_acknowledged_revision", "Revision acknowledged last.", lambda one: one.acknowledged
    ),
    *map(_acknowledgement, ("rejected", "overdue", "lapsed")),
    StatusMetric(
        "answers", "Answers of partners, by effect.", lambda s: s.answers.items(), "effect", True
    ),
    StatusMetric(
        "requests", "Requests of partners, by effect.", lambda s: s.requests.items(), "effect", True
    ),
    StatusMetric(
        "load_targets", "Load targets, by effect.", lambda s: s.load_targets.items(), "effect", True
    ),
    StatusMetric(
        "broker_connected", "Whether the broker is connected.", lambda s: s.broker.is_connected
    ),
    StatusMetric(
        "telemetry_age_seconds", "Age of the newest sample.", lambda s: s.data_age.newest_s
    ),
    StatusMetric(
        "plant_silence_seconds",
        "Time since the last message of the plant.",
        lambda s: s.data_age.silence_s,
    ),
    StatusMetric(
        "telemetry_stale",
        "Quantities not heard for three periods.",
        lambda s: len(s.telemetry.stale),
    ),
    StatusMetric(
        "points_unknown",
        "Points heard that the site file does not explain.",
        lambda s: len(s.telemetry.unknown),
    ),
    StatusMetric("messages", "Messages taken in.", lambda s: s.telemetry.messages, "", True),
    StatusMetric("points", "Points taken in.", lambda s: s.telemetry.points, "", True),
    StatusMetric("batches", "Batches taken in.", lambda s: s.telemetry.batches, "", True),
    StatusMetric(
        "quarantined", "Inputs refused.", lambda s: s.telemetry.quarantined.items(), "reason", True
    ),
    StatusMetric(
        "series_end_timestamp_seconds",
        "End of what the files tell.",
        lambda s: [(name, _timestamp(end)) for name, end in s.series.until.items()],
        "series",
    ),
    StatusMetric(
        "series_short",
        "Whether a series does not reach far enough.",
        lambda s: [(name, name in s.series.short) for name in s.series.until],
        "series",
    ),
    StatusMetric(
        "grid_power_watts",
        "Mean power taken in the quarter-hour before the last decision.",
        lambda s: _watts(s.past.grid_power, -1),
    ),
    StatusMetric(
        "plan_grid_power_watts",
        "Mean power planned for the quarter-hour of the last decision.",
        lambda s: _watts(s.plan.grid_power, 0) if s.plan else None,
    ),
    StatusMetric(
        "grid_import_limit_watts",
        "Limit of the connection.",
        lambda s: s.limits.grid_import_power * WATTS_PER_MEGAWATT,
    ),
    StatusMetric("work_power_watts", "Power of work.", lambda s: _watts(s.past.work_power, -1)),
    StatusMetric(
        "renewable_power_watts",
        "Own generation in use.",
        lambda s: _watts(s.past.renewable_power, -1),
    ),
    StatusMetric(
        "battery_energy_joules",
        "Energy in the batteries.",
        lambda s: _joules(s.past.battery_level),
    ),
    StatusMetric("tank_energy_joules", "Cold in the tanks.", lambda s: _joules(s.past.tank_level)),
    StatusMetric(
        "temperature_celsius",
        "Limited temperature.",
        lambda s: [(one.name, one.value) for one in s.limits.temperatures],
        "name",
    ),
    StatusMetric(
        "temperature_limit_celsius",
        "Limit of a temperature.",
        lambda s: [(one.name, one.limit) for one in s.limits.temperatures],
        "name",
    ),
    _ride_through(
        "time_to_limit_seconds",
        "Time from a failure now to the first limit.",
        lambda one: one.minutes,
    ),
    _ride_through(
        "plan_time_to_limit_seconds",
        "The least of these in the plan.",
        lambda one: one.worst_minutes,
    ),
    StatusMetric(
        "failures_exposed",
        "Failures that must be endured and are not.",
        lambda s: len(s.failures.exposed) if s.failures else None,
    ),
    StatusMetric("jobs", "Jobs by state.", _jobs, "state"),
    StatusMetric(
        "backlog_joules",
        "Work that waits.",
        lambda s: s.jobs.backlog_mwh * JOULES_PER_MEGAWATT_HOUR if s.jobs else None,
    ),
    StatusMetric(
        "alarms",
        "Alarms in force.",
        lambda s: [(one, sum(a.severity is one for a in s.alarms)) for one in Severity],
        "severity",
    ),
    StatusMetric(
        "alarms_by_cause",
        "Alarms in force.",
        lambda s: [(one, sum(a.cause is one for a in s.alarms)) for one in AlarmCode],
        "cause",
    ),
)
"""All metrics of the status."""
