"""Metrics for Prometheus, computed from one snapshot of the service per scrape.

Names end in their base units (watts, joules, seconds), by the convention of Prometheus. Nothing is
stored between scrapes or registered globally.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from optimizer.fallback.ladder import ScheduleSource
from optimizer.service.alarms import AlarmCode, Severity
from optimizer.service.status import (
    LinkState,
    Mode,
    OperatorInterface,
    StatusSnapshot,
    first_at,
    last_at,
    lookup,
    number_at,
    rows_at,
)

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
"""Media type of the text."""

WATTS_PER_MEGAWATT: Final = 1e6

JOULES_PER_MEGAWATT_HOUR: Final = 3.6e9

type LabelledValues = Iterable[tuple[str, float | None]]
"""Label and value of each sample; None is left out."""


def metrics_text(operator_interface: OperatorInterface) -> bytes:
    """Return all metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_SnapshotCollector(operator_interface))
    return generate_latest(registry)


class _SnapshotCollector(Collector):
    """Collector of one scrape."""

    def __init__(self, operator_interface: OperatorInterface) -> None:
        self._service = operator_interface

    def collect(self) -> Iterator[Metric]:
        snapshot = self._service.snapshot()
        yield gauge("ready", "Whether nothing is missing.", not self._service.readiness_problems())
        parts = (_service, _decision, _feed, _telemetry, _series)
        for part in (*parts, _plant, _failures, _jobs, _alarms):
            yield from part(snapshot)


def _service(snapshot: StatusSnapshot) -> Iterator[Metric]:
    now = timestamp_at(snapshot, "time")
    info = GaugeMetricFamily(
        "gigatwin_info", "What runs here.", labels=["site", "mode", "clock", "is_synthetic"]
    )
    kind = Mode.SHADOW if snapshot.get("is_shadow") is True else Mode.RUN  # as started
    named = [snapshot.get(name) for name in ("site", "clock", "is_synthetic")]
    info.add_metric([str(named[0]), kind.value, *map(str, named[1:])], 1)
    yield info
    for name, kinds in (("mode", Mode), ("link", LinkState)):
        yield gauge_family(
            name,
            f"Whether the {name} is this one.",
            ((one.value, snapshot.get(name) == one) for one in kinds),
            label=name,
        )
    yield gauge("clock_timestamp_seconds", "Time of the service's clock.", now)
    hold = snapshot.get("hold")
    yield gauge("hold", "Whether a person holds the optimiser.", hold is not None)
    since = timestamp_at(hold, "since")
    if since is not None:
        age = time.time() - since
        yield gauge("hold_age_seconds", "Time since HOLD, by the wall clock as it is.", age)


def _decision(snapshot: StatusSnapshot) -> Iterator[Metric]:
    decision = snapshot.get("decision")
    source = lookup(decision, "source")
    yield gauge_family(
        "decision_source",
        "Where the last decision comes from.",
        ((name, name == source) for name in ScheduleSource),
        label="source",
    )
    decided = timestamp_at(decision, "time")
    yield gauge("decision_timestamp_seconds", "Service time of the last decision.", decided)
    yield gauge("decision_seconds", "Time the last decision took.", number_at(decision, "seconds"))
    yield gauge("schedule_revision", "Revision published last.", number_at(decision, "revision"))
    yield gauge("decision_cost_euros", "Cost of the last plan.", number_at(decision, "cost_eur"))
    yield gauge_family(
        "account_cost_euros",
        "Cost of the last plan by account.",
        numbers_by_name(lookup(decision, "accounts")),
        label="account",
    )
    count = len(rows_at(decision, "binding"))
    yield gauge("binding_limits", "Limits that bind the last plan.", count)


def _feed(snapshot: StatusSnapshot) -> Iterator[Metric]:
    partners = [(str(row.get("partner")), row) for row in rows_at(snapshot, "feed")]
    for name, key, text in (
        ("feed_revision", "revision", "Revision sent last."),
        ("feed_acknowledged_revision", "acknowledged", "Revision acknowledged last."),
    ):
        yield gauge_family(
            name, text, ((who, number_at(row, key)) for who, row in partners), label="partner"
        )
    for state in ("rejected", "overdue", "lapsed"):
        yield gauge_family(
            f"feed_{state}",
            f"Whether the acknowledgement is {state}.",
            ((who, row.get("state") == state) for who, row in partners),
            label="partner",
        )
    for name, text in (
        ("answers", "Answers of partners since the start, by what came of them."),
        ("requests", "Requests of partners since the start, by what came of them."),
        ("load_targets", "Messages with load targets since the start, by what came of them."),
    ):
        yield counter_family(name, text, snapshot.get(name), label="effect")


def _telemetry(snapshot: StatusSnapshot) -> Iterator[Metric]:
    received = snapshot.get("telemetry")
    connected = lookup(snapshot, "broker", "is_connected") is True
    yield gauge("broker_connected", "Whether the broker is connected.", connected)
    age, silence = (number_at(snapshot, "data_age", name) for name in ("newest_s", "silence_s"))
    yield gauge("telemetry_age_seconds", "Age of the newest sample.", age)
    yield gauge("plant_silence_seconds", "Time since the last message of the plant.", silence)
    for name, key, text in (
        ("telemetry_stale", "stale", "Quantities not heard for three periods."),
        ("points_unknown", "unknown", "Points heard that the site file does not explain."),
    ):
        listed = lookup(received, key)
        yield gauge(name, text, len(listed) if isinstance(listed, Sequence) else 0)
    for name in ("messages", "points", "batches"):
        yield counter(
            name, f"{name.capitalize()} taken in since the start.", number_at(received, name)
        )
    quarantined = lookup(received, "quarantined")
    reasons = quarantined if isinstance(quarantined, Mapping) else {"any": quarantined}
    yield counter_family("quarantined", "Inputs refused since the start.", reasons, label="reason")


def _series(snapshot: StatusSnapshot) -> Iterator[Metric]:
    ends, short = (
        lookup(snapshot, "series", "until"),
        lookup(snapshot, "series", "short"),
    )
    names = [str(name) for name in ends] if isinstance(ends, Mapping) else []
    yield gauge_family(
        "series_end_timestamp_seconds",
        "End of what the files tell.",
        ((name, timestamp_at(ends, name)) for name in names),
        label="series",
    )
    yield gauge_family(
        "series_short",
        "Whether a series does not reach far enough.",
        ((name, isinstance(short, Sequence) and name in short) for name in names),
        label="series",
    )


def _plant(snapshot: StatusSnapshot) -> Iterator[Metric]:
    watts = (
        (
            "grid_power_watts",
            "Mean power taken in the quarter-hour before the last decision.",
            last_at(snapshot, "past", "grid_power"),
        ),
        (
            "plan_grid_power_watts",
            "Mean power planned for the quarter-hour of the last decision.",
            first_at(snapshot, "plan", "grid_power"),
        ),
        (
            "grid_import_limit_watts",
            "Limit of the connection.",
            number_at(snapshot, "limits", "grid_import_power"),
        ),
        ("work_power_watts", "Power of work.", last_at(snapshot, "past", "work_power")),
        (
            "renewable_power_watts",
            "Own generation in use.",
            last_at(snapshot, "past", "renewable_power"),
        ),
    )
    joules = (
        (
            "battery_energy_joules",
            "Energy in the batteries.",
            last_at(snapshot, "past", "battery_level"),
        ),
        ("tank_energy_joules", "Cold in the tanks.", last_at(snapshot, "past", "tank_level")),
    )
    for factor, rows in ((WATTS_PER_MEGAWATT, watts), (JOULES_PER_MEGAWATT_HOUR, joules)):
        for name, text, value in rows:
            yield gauge(name, text, None if value is None else value * factor)
    places = [(str(row.get("name")), row) for row in rows_at(snapshot, "limits", "temperatures")]
    for name, key in (("temperature_celsius", "value"), ("temperature_limit_celsius", "limit")):
        yield gauge_family(
            name,
            f"Temperature: {key}.",
            ((place, number_at(row, key)) for place, row in places),
            label="name",
        )


def _failures(snapshot: StatusSnapshot) -> Iterator[Metric]:
    """Yield the time to the first limit after each failure; no sample if none is reached."""
    for name, key, text in (
        ("time_to_limit_seconds", "minutes", "Time from a failure now to the first limit."),
        ("plan_time_to_limit_seconds", "worst_minutes", "The least of these in the plan."),
    ):
        samples = (
            (str(row.get("failure")), number_at(row, key))
            for row in rows_at(snapshot, "failures", "rows")
        )
        yield gauge_family(
            name,
            text,
            ((who, None if value is None else 60.0 * value) for who, value in samples),
            label="failure",
        )
    exposed = lookup(snapshot, "failures", "exposed")
    count = len(exposed) if isinstance(exposed, Sequence) else None
    yield gauge("failures_exposed", "Failures that must be endured and are not.", count)


def _jobs(snapshot: StatusSnapshot) -> Iterator[Metric]:
    jobs = snapshot.get("jobs")
    counts = ((state, number_at(jobs, state)) for state in ("running", "waiting", "late"))
    yield gauge_family("jobs", "Jobs by state.", counts, label="state")
    backlog = number_at(jobs, "backlog_mwh")
    energy = None if backlog is None else backlog * JOULES_PER_MEGAWATT_HOUR
    yield gauge("backlog_joules", "Work that waits.", energy)


def _alarms(snapshot: StatusSnapshot) -> Iterator[Metric]:
    rows = rows_at(snapshot, "alarms")
    for key, kinds in (("severity", Severity), ("cause", AlarmCode)):
        standing = [row.get(key) for row in rows]
        counts = ((one.value, standing.count(one)) for one in kinds)
        name = "alarms" if key == "severity" else "alarms_by_cause"
        yield gauge_family(name, "Alarms in force.", counts, label=key)


def gauge(name: str, text: str, value: float | None) -> GaugeMetricFamily:
    """Return a gauge of one value; without a sample if it is None."""
    metric = GaugeMetricFamily(f"gigatwin_{name}", text)
    if value is not None:
        metric.add_metric([], value)
    return metric


def counter(name: str, text: str, value: float | None) -> CounterMetricFamily:
    """Return a counter of one value; without a sample if it is None."""
    metric = CounterMetricFamily(f"gigatwin_{name}", text)
    if value is not None:
        metric.add_metric([], value)
    return metric


def counter_family(name: str, text: str, values: object, *, label: str) -> CounterMetricFamily:
    """Return counters of a mapping by one label."""
    metric = CounterMetricFamily(f"gigatwin_{name}", text, labels=[label])
    for key, value in numbers_by_name(values):
        if value is not None:
            metric.add_metric([key], value)
    return metric


def gauge_family(name: str, text: str, samples: LabelledValues, *, label: str) -> GaugeMetricFamily:
    """Return a gauge of values by one label."""
    metric = GaugeMetricFamily(f"gigatwin_{name}", text, labels=[label])
    for key, value in samples:
        if value is not None:
            metric.add_metric([key], value)
    return metric


def numbers_by_name(values: object) -> Iterator[tuple[str, float | None]]:
    """Yield the numbers of a mapping by name."""
    if isinstance(values, Mapping):
        for name in values:
            yield str(name), number_at(values, name)


def timestamp_at(snapshot: object, *path: str) -> float | None:
    """Return an ISO 8601 time as seconds since 1970. [s]"""
    text = lookup(snapshot, *path)
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
