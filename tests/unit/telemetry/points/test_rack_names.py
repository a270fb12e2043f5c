"""Racks with different names at plant and cluster are found once both have sent names."""

import json

import numpy as np
import pytest

import sites
from telemetry.messages import decode, encode
from telemetry.messages.samples import CapOrder, RackBatch
from telemetry.points.site_points import announced_metadata
from telemetry.points.topology import RackNameComparison, describe_excluded_racks
from twin.equipment import ITHall
from twin.errors import MessageError

SITE = sites.load_site("small")
NOW = np.datetime64("2026-07-01T00:00", "us")
PERIOD = np.timedelta64(100, "s")
LATER = NOW + 2 * PERIOD
LONG_AGO = np.datetime64("2000-01-01", "us")


def batches(*, without=(), more=()):
    """Return a batch of each rack of the site, without some and with some more."""
    named = [
        (hall.name, f"r{rack + 1:04d}")
        for hall in SITE.machines_of(ITHall)
        for rack in range(hall.racks)
    ]
    return [
        RackBatch(
            site=SITE.name,
            hall=hall,
            rack=rack,
            boot=1,
            sequence=1,
            time=NOW,
            interval=np.timedelta64(1, "s"),
            values=np.ones((5, 2), dtype=np.float32),
        )
        for hall, rack in [*named, *more]
        if (hall, rack) not in without
    ]


def points(*, renamed=()):
    """Return the metadata of all points, with other locations for some racks."""
    changes = dict(renamed)
    for point in announced_metadata(SITE):
        if point.rack in changes:
            document = json.loads(encode(point)[1]) | {"rackLocationId": changes[point.rack]}
            yield decode(encode(point)[0], json.dumps(document).encode())
        else:
            yield point


def numbered():
    return [(hall, n) for hall in SITE.machines_of(ITHall) for n in range(1, hall.racks + 1)]


def mismatch_of(*samples):
    mismatch = RackNameComparison(SITE)
    for sample in samples:
        mismatch.observe(sample)
    return mismatch


def asked_until(mismatch, end):
    """Return the report at a time, after regular queries until then."""
    for moment in np.arange(NOW, end, PERIOD / 4):
        mismatch.mismatched_racks(moment, PERIOD)
    return mismatch.mismatched_racks(end, PERIOD)


def test_racks_with_equal_names_are_used():
    mismatch = mismatch_of(*points(), *batches())
    assert asked_until(mismatch, LATER) == ()
    assert mismatch.describe() == []


def test_rack_with_two_names_is_not_used():
    mismatch = mismatch_of(*points(renamed=[("hall_1-r0003", "hall_1-r0O03")]), *batches())
    assert asked_until(mismatch, LATER - np.timedelta64(1, "s")) == ()  # the plant may yet name it
    assert mismatch.mismatched_racks(LATER, PERIOD) == ("hall_1-r0003",)
    report = "; ".join(mismatch.describe())
    assert "the plant names and the site file does not have: hall_1-r0O03" in report
    assert "send batches and that the plant does not name: hall_1-r0003" in report


def test_names_outside_the_site_file_are_reported():
    """Sensitivity: where plant and agents agreed on A01, all data were lost without an alarm."""
    renamed = {f"{hall.name}-r{n:04d}": f"{hall.name}-A{n:02d}" for hall, n in numbered()}
    strange = [(hall.name, f"A{n:02d}") for hall, n in numbered()]
    usual = [(hall.name, f"r{n:04d}") for hall, n in numbered()]
    mismatch = mismatch_of(*points(renamed=renamed.items()), *batches(without=usual, more=strange))
    assert not mismatch.has_no_declared_racks
    assert asked_until(mismatch, LATER) == ()
    assert mismatch.has_no_declared_racks
    assert "send batches and the site file does not have: hall_1-A01" in "; ".join(
        mismatch.describe()
    )
    mismatch.observe(batches()[0])
    assert not mismatch.has_no_declared_racks


def test_rack_that_is_named_later_is_used_again():
    mismatch = mismatch_of(*points(), *batches(without=[("hall_2", "r0014")]))
    assert asked_until(mismatch, LATER) == ("hall_2-r0014",)
    mismatch.observe(batches()[-1])
    assert mismatch.mismatched_racks(LATER, PERIOD) == ()


def test_clock_leap_reports_no_racks_yet_to_be_named():
    """For example a simulated clock at its first tick, or a machine started in another year."""
    mismatch = mismatch_of(*points(), *batches()[:2])
    assert mismatch.mismatched_racks(LONG_AGO, PERIOD) == ()
    assert mismatch.mismatched_racks(NOW, PERIOD) == ()
    assert mismatch.mismatched_racks(LONG_AGO, PERIOD) == ()
    assert len(asked_until(mismatch, LATER)) == SITE.rack_count - 2


@pytest.mark.parametrize("samples", [[*points()], batches(), []])
def test_one_silent_side_gives_no_differences(samples):
    mismatch = mismatch_of(*samples)
    assert asked_until(mismatch, LATER) == ()


def test_racks_of_other_sites_are_ignored():
    mismatch = mismatch_of(*points(), *batches(more=[("hall_9", "r0001")]))
    assert asked_until(mismatch, LATER) == ()
    assert mismatch.describe() == [
        "racks that send batches and the site file does not have: hall_9-r0001"
    ]


def test_many_racks_are_summarised():
    assert describe_excluded_racks(()) == ""
    racks = [f"hall_1-r{number:04d}" for number in range(1, 13)]
    assert describe_excluded_racks(racks).startswith(
        "not acted on, as their names differ: hall_1-r0001, "
    )
    assert describe_excluded_racks(racks).endswith("hall_1-r0010 and 2 more")


# --- the cap that leaves them out


def cap(power, *without):
    return CapOrder(
        site=SITE.name,
        hall="hall_1",
        sequence=1,
        issued=NOW,
        expires=NOW + np.timedelta64(30, "m"),
        power_cap=power,
        excluded_racks=without,
    )


def test_cap_returns_with_the_racks_that_it_excludes():
    assert decode(*encode(cap(1.5, "r0003", "r0007"))) == cap(1.5, "r0003", "r0007")
    assert b"without" not in encode(cap(1.5))[1]
    topic, payload = encode(cap(1.5, "r0003"))
    for wrong in (b'"r0003"', b"[3]", b"[null]", b"{}"):
        with pytest.raises(MessageError):
            decode(topic, payload.replace(b'["r0003"]', wrong))
