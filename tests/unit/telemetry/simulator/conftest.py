"""A small site on a mild morning with four jobs, and a service that answers from a script."""

import numpy as np
import pytest

import sites
from telemetry.messages import decode, encode, topics
from telemetry.messages.samples import DecisionNotice, SimulationTick
from telemetry.mqtt.queues import PublishToken, ReceivedMessage
from telemetry.simulator.site import SimulationScenario
from twin import time_axes, variables
from twin.simulation import state
from twin.workload.jobs import Jobs, Workload

START = time_axes.to_utc("2026-06-16T06:00")
QUARTER = time_axes.QUARTER_HOUR
HOUR = time_axes.HOUR
HOURS = 2


@pytest.fixture(scope="package")
def small():
    return sites.load_site("small")


@pytest.fixture(scope="package")
def workload():
    """Return four waiting jobs of 6 racks, and a fifth that arrives within the first step."""
    arrival = np.array([START] * 4 + [START + QUARTER])
    length = np.array([1.0, 2.0, 1.5, 3.0, 1.0])
    jobs = Jobs(
        number=np.arange(5),
        kind_index=np.array([1, 1, 1, 1, 1]),
        arrival=arrival,
        deadline=arrival + (length * 5.0 * 3600).astype("timedelta64[s]"),
        length=length,
        racks=np.full(5, 6.0),
    )
    return Workload(jobs=jobs, arrival_history=jobs)


@pytest.fixture(scope="package")
def scene(small, workload):
    count = HOURS * 60
    around = time_axes.regular_axes(START, count, time_axes.MINUTE)
    weather = {"air_temperature": 16.0, "relative_humidity": 0.6, "air_pressure": 100.0}
    for name, value in weather.items():
        around[name] = "time", np.full(count, value)
    around = around.assign_coords(renewable=["solar_1", "wind_1"])
    given = np.stack([np.full(count, 0.2), np.full(count, 0.5)], axis=-1)
    around["renewable_available_power"] = ("time", "renewable"), given
    begin = state.initial_state(small, START, peak_power=2.0, grid_import_power=1.0)
    return SimulationScenario(
        site=small,
        boundary_conditions=variables.tag_dataset(around),
        initial_state=begin,
        workload=workload,
        service_racks=[2.0] * (HOURS * 4),
        seed=3,
    )


class Script:
    """A client without a broker: it records messages and answers each tick at once.

    Parameters
    ----------
    answers
        Tick -> samples that the service sends; Decided is added unless they end in None.
    """

    def __init__(self, answers=lambda _: []):
        self._answers, self._waiting = answers, []
        self.sent = []

    def subscribe(self, *_, **__):
        return _done()

    def publish(self, topic, payload, *, qos=0, retain=False):
        self.sent.append((topic, payload, qos, retain))
        if topics.parse_topic(topic).kind == topics.TopicKind.TICK:
            self._answer(decode(topic, payload))
        return _done()

    def poll(self, limit=1000, timeout=0.1):
        taken, self._waiting = self._waiting[:limit], self._waiting[limit:]
        return taken

    def acknowledge(self, messages):
        pass

    def samples(self, kind):
        """Return all samples of a kind of topic that were sent."""
        of_kind = [m for m in self.sent if topics.parse_topic(m[0]).kind == kind]
        return [decode(topic, payload) for topic, payload, *_ in of_kind]

    def _answer(self, tick: SimulationTick):
        answers = self._answers(tick)
        if None not in answers:
            sequence = max((a.sequence for a in answers if hasattr(a, "caps")), default=-1)
            answers = [*answers, DecisionNotice(site=tick.site, time=tick.time, sequence=sequence)]
        encoded = [encode(answer) for answer in answers if answer is not None]
        self._waiting += [ReceivedMessage(topic, payload, 1) for topic, payload in encoded]


def _done():
    receipt = PublishToken()
    receipt.complete(True)
    return receipt
