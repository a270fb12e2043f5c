"""Connection of the service to the plant: telemetry in, commands out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

import numpy as np
import xarray as xr

from optimizer.realtime.orders import DispatchOrders
from optimizer.service.clock import TIME_BEFORE_FIRST_TICK, ServiceClock
from optimizer.service.config import ServiceConfig, ServiceEnvironment
from optimizer.service.decision_engine import DecisionResult
from optimizer.service.decision_inputs import SchedulerJobs
from optimizer.service.plant_orders import (
    plant_commands,
    setpoint_refusal,
    setpoint_status,
    storage_requests,
)
from optimizer.service.status import (
    BrokerStatus,
    CoverageStatus,
    DataAge,
    LinkState,
    RefusedReadingStatus,
    TelemetryStatus,
)
from optimizer.service.weekly_calibration import DriftMonitor
from telemetry.archive.commit_batch import epoch_second
from telemetry.commands import CommandPublisher
from telemetry.feed.signing import load_or_create_key
from telemetry.ingest.pipeline import IngestPipeline
from telemetry.live.state import LiveState
from telemetry.messages import topics
from telemetry.messages.bms_contract import REPEAT_PERIOD
from telemetry.messages.samples import PointValue, RackBatch, Sample, SampleOutcome, SimulationTick
from telemetry.points.plausible_ranges import LIMITS_FILE, read_site_limits
from telemetry.points.topology import RackNameComparison
from telemetry.quality import checks
from telemetry.quality.checks import QualityFlag
from telemetry.quality.tracker import HEARTBEAT_PERIOD_S
from telemetry.runtime import ClockMode, SupervisedThread
from twin.physics import FloatArray
from twin.site import Site
from twin.text import format_duration
from twin.time_axes import SECOND
from twin.variables import net_import
from twin.workload.jobs import TimeArray

ACCEPTED_MESSAGE_COUNTERS: Final = {
    QualityFlag.GOOD,
    SampleOutcome.BATCH_GOOD,
    SampleOutcome.DUPLICATE,
}
"""Counters of accepted and of repeated messages."""

SILENCE_CHECK_INTERVAL_S: Final = 5.0
"""Time between two checks for silent points. [s]"""

UNUSED_MESSAGE_COUNTERS: Final = {SampleOutcome.UNKNOWN_POINT, SampleOutcome.OTHER_SITE}
"""Counters of valid messages that plans do not use."""

PLANT_HEARTBEAT_VARIABLES: Final = ("plant_heartbeat", "plant_heartbeat_echo")
"""Variables that a plant's gateway sends whether or not a sensor sends anything."""


SILENCE_GAP_COUNT: Final = 3
"""Longest usual gaps between messages after which a plant counts as silent. [1]"""

LONGEST_GAP_DECAY: Final = 0.3
"""Share of the longest gap that is left one repetition period or tick later. [1]"""


class PlantState(StrEnum):
    """State of the plant, as its messages show it."""

    AWAITED = "awaited"
    SENDING = "sending"
    ENDED = "ended"


class PlantEvent(StrEnum):
    """Message of the plant that may change its state."""

    MESSAGE = "reading"
    TICK = "tick"
    LAST_TICK = "last tick"


PLANT_TRANSITIONS: Final[Mapping[tuple[PlantState, PlantEvent], PlantState]] = {
    (PlantState.AWAITED, PlantEvent.MESSAGE): PlantState.SENDING,
    (PlantState.AWAITED, PlantEvent.TICK): PlantState.SENDING,
    (PlantState.AWAITED, PlantEvent.LAST_TICK): PlantState.ENDED,
    (PlantState.SENDING, PlantEvent.LAST_TICK): PlantState.ENDED,
    (PlantState.ENDED, PlantEvent.TICK): PlantState.SENDING,
}
"""State and event -> next state; any other event changes nothing."""


class PlantSilence:
    """Time since the last message of the plant, by the monotonic clock; usable from any thread.

    It does not depend on the service's time, which a simulated plant sets. The limit follows the
    longest gaps of the last repetition periods, or of the last ticks of a simulated plant; a plant
    that follows the contract sends a heartbeat every :data:`HEARTBEAT_PERIOD_S`.

    - `state`: what the plant has sent so far.
    """

    def __init__(self, clock: ServiceClock) -> None:
        self._is_simulated = clock.mode is ClockMode.SIMULATED
        self._monotonic = clock.monotonic
        self._last = self._window_start = self._monotonic()
        self.state = PlantState.AWAITED
        self._gap, self._usual_gap = 0.0, float(REPEAT_PERIOD / SECOND)

    def on_sample(self, sample: Sample) -> None:
        """Count a message that a running plant sends; retained descriptions do not count."""
        if not isinstance(sample, PointValue | RackBatch | SimulationTick):
            return
        moment, event = self._monotonic(), PlantEvent.MESSAGE
        if self.state is not PlantState.AWAITED:
            self._gap = max(self._gap, moment - self._last)
        self._last = moment
        is_over = moment - self._window_start >= float(REPEAT_PERIOD / SECOND)
        if isinstance(sample, SimulationTick):
            is_over, event = True, PlantEvent.LAST_TICK if sample.is_last else PlantEvent.TICK
        self.state = PLANT_TRANSITIONS.get((self.state, event), self.state)
        if is_over:
            self._usual_gap = max(self._gap, LONGEST_GAP_DECAY * self._usual_gap)
            self._window_start, self._gap = moment, 0.0

    @property
    def seconds(self) -> float | None:
        """Time since the last message; None before the first. [s]"""
        return None if self.state is PlantState.AWAITED else self._monotonic() - self._last

    @property
    def error(self) -> str:
        """Why the plant counts as silent; empty if it does not, or a simulated one has ended.

        A simulated plant may start later than the service.
        """
        silence = self._monotonic() - self._last
        may_come_later = self.state is PlantState.AWAITED and self._is_simulated
        if self.state is PlantState.ENDED or may_come_later or silence <= self._limit:
            return ""
        return f"nothing received from the plant for {format_duration(silence)}: is it running?"

    @property
    def _limit(self) -> float:
        """Silence that is reported: at first three repetition periods. [s]"""
        return SILENCE_GAP_COUNT * max(self._gap, self._usual_gap, HEARTBEAT_PERIOD_S)


class PlantLink:
    """Connection to the plant of a site.

    ``folder`` is the state folder with journal, archive and quarantine.

    - `commands`: publisher of the commands.
    - `cleartext_warning`: what the permission for cleartext exposes; empty without the permission.
    """

    def __init__(
        self, site: Site, config: ServiceConfig, folder: Path, *, environment: ServiceEnvironment
    ) -> None:
        clock = environment.clock
        self._site, self._is_simulated = site, clock.mode is ClockMode.SIMULATED
        self._monotonic = clock.monotonic
        self.cleartext_warning = config.encryption if config.allows_cleartext else ""
        self._client = environment.connect(f"gigatwin-{site.name}", None)
        self._client.subscribe(topics.METADATA_FILTER, qos=0)
        self._client.subscribe(*topics.service_filters(site.name))
        self._client.subscribe(
            topics.topic_filter(topics.TopicKind.SENDER_REPORT, site=site.name), qos=0
        )
        self._journal = environment.open_journal(folder / "journal")
        self._archive = environment.open_archive(folder / "archive", site.name)
        self.window = LiveState(
            site, clock_mode=clock.mode, limits=read_site_limits(folder / LIMITS_FILE)
        )
        self._ingester = IngestPipeline(
            self._client,
            self._journal,
            window=self.window,
            archive=self._archive,
            quarantine=folder / "quarantine",
        )
        self.commands = CommandPublisher(
            self._client,
            site.name,
            binder=self.window.binder,
            path=folder / "orders.json",
            key=load_or_create_key(folder / "keys"),
        )
        self.rack_names = RackNameComparison(site)
        # names are sent once a day, so those of before the start count
        self._ingester.add_listener(self.rack_names.observe, from_before=True)
        self.drift_monitor = DriftMonitor(site, folder, is_disabled=self._is_simulated)
        self.jobs = SchedulerJobs(site, self.window)
        self._silence = PlantSilence(clock)
        self._ingester.add_listener(self._silence.on_sample)
        self._checked_at, self._silent = -np.inf, dict[str, float]()

    def __enter__(self) -> Self:
        """Replay the journal, then connect."""
        self._ingester.recover()
        self._client.start()
        self._ingester.start()
        if self._is_simulated:
            self._ingester.add_listener(self.commands.on_sample)
            self.commands.publish_decision(
                TIME_BEFORE_FIRST_TICK, -1
            )  # a waiting plant repeats its tick
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect; everything acknowledged is on disk."""
        self._ingester.stop()
        self._client.stop()
        self.drift_monitor.stop()
        self._journal.close()

    @property
    def threads(self) -> Sequence[SupervisedThread]:
        """Threads that ingest and archive."""
        return self._ingester.threads

    def subscribe(self, listener: Callable[[Sample], None]) -> None:
        """Call a function with every sample, on the thread of the ingester."""
        self._ingester.add_listener(listener)

    # --- telemetry

    def observed(self, now: np.datetime64) -> xr.Dataset:
        """Return the newest good readings, as :meth:`LiveState.latest_values` does."""
        return self.window.latest_values(now)

    def current_net_import(self, now: np.datetime64) -> float:
        """Return the metered net import now; NaN if it is unknown. [MW]"""
        return float(net_import(self.observed(now)))

    def means(self, start: np.datetime64, end: np.datetime64) -> xr.Dataset:
        """Return the means of the good readings of a span; NaN where nothing was read."""
        return self.window.recent_means(start, end).mean("time")

    def mean_net_import(self, start: np.datetime64, end: np.datetime64) -> float:
        """Return the metered mean net import; NaN if it is unknown. [MW]"""
        return float(net_import(self.means(start, end)))

    def measured_import(
        self, start: np.datetime64, end: np.datetime64
    ) -> tuple[TimeArray, FloatArray]:
        """Return starts and metered mean net import of intervals, NaN if it is unknown. [MW]"""
        return self.window.recent_net_import(start, end)

    def excluded_racks(self, now: np.datetime64) -> tuple[str, ...]:
        """Return racks without orders.

        See :class:`telemetry.points.topology.RackNameComparison`.
        """
        return self.rack_names.mismatched_racks(now, self.window.repetition_period)

    def setpoint_refusal(self, now: np.datetime64) -> str:
        """Return why water set points cannot be requested; empty if they can."""
        return setpoint_refusal(self._site, self.window.integration_points, self.observed(now))

    def refused_timestamps(self, now: np.datetime64) -> Mapping[str, str]:
        """Return which points are refused because of their timestamps, by kind of clock error.

        If many are ahead, this machine's clock is slow: see :attr:`archive_error`.
        """
        found = {
            "stamps behind": self.window.clock_skew_tracker.describe_late(
                now, self.window.repetition_period
            ),
            "stamps ahead": self._ingester.source_warning,
            "old stamps ahead": ""
            if now == TIME_BEFORE_FIRST_TICK
            else self.window.describe_future_values(now),
        }
        return {kind: text for kind, text in found.items() if text}

    def silent_points(self, now: np.datetime64, silent_periods: int) -> Mapping[str, float]:
        """Return variable -> age of its newest reading, where it sent nothing for some periods. [s]

        It is checked periodically, so that it is reported before the next decision. For a simulated
        plant, whose clock jumps from decision to decision, each decision reports it.
        """
        moment = self._monotonic()
        if (
            now != TIME_BEFORE_FIRST_TICK
            and not self._is_simulated
            and moment - self._checked_at >= SILENCE_CHECK_INTERVAL_S
        ):
            self._checked_at = moment
            longest = silent_periods * self.window.repetition_period
            self._silent = stale_ages(self.window.latest_values(now), longest)
        return self._silent

    # --- commands

    def publish_orders(self, result: DecisionResult) -> int:
        """Publish the orders of a decision, and return the sequence of the job orders."""
        return self.commands.publish_commands(plant_commands(self._site, result), result.time)

    def publish_adjustment(
        self, result: DecisionResult, orders: DispatchOrders, now: np.datetime64
    ) -> None:
        """Request other store powers; if caps of jobs change, publish these and caps of halls.

        Everything else stays as decided.
        """
        if orders.jobs == self.commands.last_commands.job_caps:
            self.commands.update_requests(storage_requests(self._site, orders), now)
        else:
            self.commands.publish_commands(
                plant_commands(self._site, replace(result, orders=orders)), now
            )

    def renew_last_caps(self, now: np.datetime64, result: DecisionResult | None = None) -> int:
        """Renew the last caps, or lower ones of a plan under HOLD; withdraw all requests."""
        return self.commands.renew_last_caps(
            now, plant_commands(self._site, result) if result else None
        )

    def send_heartbeat(self, now: np.datetime64) -> None:
        """Publish our heartbeat and the echo of the plant's."""
        echo = float(self.window.latest_values(now)["plant_heartbeat"])
        self.commands.publish_heartbeat(echo if np.isfinite(echo) else None, now)

    # --- status

    @property
    def url(self) -> str:
        """URL of the broker, without the password."""
        return self._client.url

    @property
    def error(self) -> str:
        """Error of the connection; empty if there is none."""
        return self._client.error

    @property
    def state(self) -> LinkState:
        """State of the connection to the plant."""
        if not self._client.is_connected:
            return LinkState.DISCONNECTED
        if self._silence.state is PlantState.ENDED:
            return LinkState.ENDED
        return LinkState.SILENT if self._silence.error else LinkState.CONNECTED

    @property
    def silence_error(self) -> str:
        """Why the plant counts as silent; empty if it does not, or while the broker is away."""
        return self._silence.error if self.state is LinkState.SILENT else ""

    def data_age(self, now: np.datetime64) -> DataAge:
        """Return the age of the telemetry.

        The time of a simulated plant stands still with it, so no reading is younger than the last
        message.
        """
        newest, silence = newest_reading_age(self.observed(now)), self._silence.seconds
        if newest is not None and silence is not None:
            newest = round(max(newest, silence), 1)
        return DataAge(newest_s=newest, silence_s=None if silence is None else round(silence, 1))

    @property
    def ingest_error(self) -> str:
        """Why telemetry is not processed; empty if it is, whatever single sources send."""
        return self._ingester.failure

    @property
    def archive_error(self) -> str:
        """Errors of journal and archive; empty if there are none."""
        damaged = [
            f"{path} is damaged and was moved aside" for path in self._archive.corrupt_copies
        ]
        lost = "; ".join([*filter(None, [self._ingester.damage.description]), *damaged])
        lost += " (reported until the next start)" if lost else ""
        return "; ".join(filter(None, [self._ingester.error, self._archive.error, lost]))

    def broker_status(self) -> BrokerStatus:
        """Return the state of the connection to the broker."""
        client = self._client
        return BrokerStatus(url=self.url, is_connected=client.is_connected, trouble=client.error)

    @property
    def message_counts(self) -> tuple[int, int]:
        """Messages received, and good readings of points, since the start. [1]"""
        good = self.window.counters.get(QualityFlag.GOOD, 0)
        return self._ingester.counters.get("messages", 0), good

    def telemetry_status(self, now: np.datetime64) -> TelemetryStatus:
        """Return what was received and refused since the start."""
        counters, window = self._ingester.counters, self.window.counters
        messages, points = self.message_counts
        observed, longest = (
            self.window.latest_values(now),
            checks.STALE_PERIODS * self.window.repetition_period,
        )
        refused = {
            name: count
            for name, count in window.items()
            if name not in ACCEPTED_MESSAGE_COUNTERS | UNUSED_MESSAGE_COUNTERS
        }
        requests = self.commands.last_commands.set_point_requests
        worst = self._ingester.coverage.worst_points(epoch_second(now))
        return TelemetryStatus(
            age_s=self.data_age(now).newest_s,
            messages=messages,
            points=points,
            batches=self._archive.counters.get("batches", 0),
            quarantined={"poison": counters.get("quarantined", 0), **refused},
            refused=[
                RefusedReadingStatus(**asdict(one)) for one in self._ingester.refused_readings
            ],
            passed={
                name: count for name, count in window.items() if name in UNUSED_MESSAGE_COUNTERS
            },
            stale=[
                f"{name}: {format_duration(age_s)}"
                for name, age_s in stale_ages(observed, longest).items()
            ],
            unknown=[f"{point}: {why}" for point, why in self.window.unbound_points.items()],
            coverage=[CoverageStatus(**one) for one in worst],
            archive=f"{self._archive.counters.get('commits', 0)} commits",
            connection=dict(self._client.counters),
            racks_apart=list(self.excluded_racks(now)),
            water=setpoint_status(self._site, observed, requests),
            water_refusal=self.setpoint_refusal(now),
        )


def stale_ages(observed: xr.Dataset, longest: np.timedelta64) -> dict[str, float]:
    """Return variable -> age of its newest reading, where that is older than ``longest``. [s]

    Of several machines the one that has been silent longest is named, with the number of others.
    """
    limit_s = longest / np.timedelta64(1, "s")
    found = {}
    for name in _names(observed):
        age = observed[f"{name}_age"]
        is_old = np.isfinite(age.to_numpy()) & (age.to_numpy() > limit_s)
        if count := int(is_old.sum()):
            old = age.where(is_old, 0.0)
            found[f"{name}{_oldest_machine(old, count)}"] = float(old.max())
    return found


def _oldest_machine(old: xr.DataArray, count: int) -> str:
    """Return which machine has the oldest reading; empty for a variable of the site."""
    if not old.dims:
        return ""
    more = f" and {count - 1} more" if count > 1 else ""
    return f" of {old.idxmax().item()}{more}"


def _names(observed: xr.Dataset) -> list[str]:
    return [str(name) for name in observed.data_vars if f"{name}_age" in observed]


def newest_reading_age(observed: xr.Dataset) -> float | None:
    """Return the age of the newest reading of any sensor; None before the first. [s]"""
    sensors = (name for name in _names(observed) if name not in PLANT_HEARTBEAT_VARIABLES)
    age = min((float(observed[f"{name}_age"].min()) for name in sensors), default=np.inf)
    return round(max(age, 0.0), 1) if np.isfinite(age) else None
