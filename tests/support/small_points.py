"""Points of the site `small`, and messages of them and its racks."""

from dataclasses import replace
from functools import cache

import numpy as np

import sites
from telemetry.messages.samples import PointValue, RackBatch
from telemetry.points.site_points import list_points

NOON = np.datetime64("2026-06-16T12:00", "us")
SECOND = np.timedelta64(1, "s")


@cache
def site():
    return sites.load_site("small")


@cache
def metadata_of(variable, label="", **changes):
    """Return the first metadata of a variable, with a machine's label if given, with changes."""
    found = next(
        p.metadata
        for p in list_points(site())
        if p.meaning.variable == variable and label in ("", p.label)
    )
    return replace(found, **changes)


def value_of(variable, value, *, time=NOON, label="", quality=1):
    point = metadata_of(variable, label).point
    return PointValue(point=point, time=time, value=value, quality=quality)


def batch(*, rack="r0001", hall="hall_1", time=NOON, boot=1, sequence=1, **more):
    power, temperature = more.get("power", 1000.0), more.get("temperature", 55.0)
    values = np.array([[power], [temperature], [0.8], [0.5], [1900.0]]) * np.ones((5, 72))
    return RackBatch(
        site=more.get("site", "small"),
        hall=hall,
        rack=rack,
        boot=boot,
        sequence=sequence,
        time=time,
        interval=more.get("interval", SECOND),
        values=values.astype(np.float32),
    )
