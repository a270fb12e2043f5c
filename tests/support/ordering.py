"""Orders to the site `small`: commands, and a client that records what is published."""

import sites
from telemetry.commands import CommandPublisher, PlantCommands
from telemetry.messages import decode
from telemetry.messages.samples import PointValue
from telemetry.points.binding import PointBinder
from telemetry.points.site_points import announced_metadata
from twin import time_axes

SITE = sites.load_site("small")
NOW = time_axes.to_utc("2026-06-16T08:00")
WANTED = PlantCommands(
    job_caps={7: 0.75, 12: 1.0},
    hall_caps={"hall_1": 1.25, "hall_2": 0.5},
    set_point_requests={
        ("battery_request", "battery_1"): -0.3,
        ("technology_supply_request", "cdu_1/002"): 38.5,
    },
)


class Wire:
    """A client that records what is published."""

    def __init__(self):
        self.sent = []
        self.unkept = set()

    def publish(self, topic, payload, *, qos=0, retain=False, conflate=False):
        assert not retain
        assert conflate
        self.sent.append(decode(topic, payload))
        if qos == 0:
            self.unkept.add(self.sent[-1].point)

    def of(self, kind):
        return [sample for sample in self.sent if isinstance(sample, kind)]

    def requests(self):
        return {sample.point: sample.value for sample in self.of(PointValue)}

    def asked(self):
        return {point: value for point, value in self.requests().items() if value is not None}


def bound():
    binder = PointBinder(SITE)
    for metadata in announced_metadata(SITE):
        binder.register(metadata)
    return binder


def point(binder, *key):
    return binder.integration_points[key]


def making(wire, folder):
    """Return a function that makes publishers which store their commands in the same folder."""

    def make(binder=None):
        path = folder / "orders.json"
        return CommandPublisher(wire, "small", binder=binder or bound(), path=path)

    return make
