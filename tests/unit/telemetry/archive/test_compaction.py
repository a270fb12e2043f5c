"""Minutes become hours and roll-ups, which include late readings; nothing is lost."""

from datetime import timedelta

import numpy as np
import pytest

from telemetry.archive.buffer import RackBatchBlock
from telemetry.journal.format import JournalPosition
from telemetry.quality.checks import QualityFlag
from tests.support.archives import POINT, START, batch, metadata, tick, value
from tests.support.sample_archive import Heard, seconds_of
from twin.errors import ArchiveError

HOUR = 3600


def fill(heard, seconds):
    for second in seconds:
        heard.hear(batch("r0001", second), batch("r0002", second, value=1.0), value(second, second))
    heard.archive.commit(include_open=True)


@pytest.mark.slow
def test_compaction_does_not_change_readings(heard):
    fill(heard, range(0, 4000, 17))
    before = {group: heard.open(group).load() for group in ("racks", "points")}
    assert heard.archive.maintain(is_whole=True) == 4  # two hours of two groups
    assert all(dataset.sizes["time"] for dataset in before.values())
    for group, dataset in before.items():
        assert heard.open(group).load().identical(dataset)
    store = heard.folder / "archive" / "store"
    assert heard.archive.maintain(is_whole=True) == 0
    assert store.is_dir()


@pytest.mark.slow
def test_hour_is_compacted_after_wait_for_late_readings(heard):
    fill(heard, range(0, HOUR + 30, 30))
    assert heard.archive.maintain() == 0
    fill(heard, range(HOUR + 30, HOUR + 2000, 30))
    assert heard.archive.maintain() == 2
    assert heard.archive.maintain() == 0
    assert seconds_of(heard.open("racks")) == list(range(0, HOUR + 2000, 30))


@pytest.mark.slow
def test_late_readings_join_compacted_hour(heard):
    fill(heard, range(0, 4000, 10))
    heard.archive.maintain(is_whole=True)
    heard.hear(batch("r0002", 125, value=7.0), batch("r0001", 131, value=8.0))
    heard.hear(batch("r0001", 130, value=9.0))  # replaces another value
    heard.hear(value(130, None), flag=QualityFlag.BAD_SOURCE)  # does not replace a good value
    heard.hear(value(131, None), flag=QualityFlag.BAD_SOURCE)
    heard.archive.commit(include_open=True)
    for _ in range(2):  # before and after the next compaction
        chips = heard.open("racks")["power"].isel(chip=0)
        assert chips.sel(time=START + np.timedelta64(125, "s")).values[1] == 7.0
        assert np.isnan(chips.sel(time=START + np.timedelta64(125, "s")).values[0])
        assert chips.sel(time=START + np.timedelta64(130, "s")).values.tolist() == [130.0, 1.0]
        assert chips.sel(time=START + np.timedelta64(131, "s")).values[0] == 8.0
        assert chips.sel(time=START + np.timedelta64(120, "s")).values.tolist() == [120.0, 1.0]
        moments = START + np.array([130, 131], dtype="timedelta64[s]")
        points = heard.open("points").sel(point=POINT, time=moments)
        assert points["quality"].values.tolist() == [1, 0]
        assert np.array_equal(points["value"].values, [130.0, np.nan], equal_nan=True)
        heard.archive.maintain(is_whole=True)
    minute = heard.open("racks", resolution="1min").isel(time=2, chip=0)
    assert minute["power_max"].values.tolist() == [170.0, 7.0]
    assert minute["power_count"].values.tolist() == [7, 7]


@pytest.mark.slow
def test_roll_ups_by_hand(heard):
    """Seconds 0 to 119 of value 0 to 119: minutes of 0..59 and 60..119, means 29.5 and 89.5."""
    heard.hear(metadata())
    fill(heard, range(120))
    heard.hear(value(120, 1e9), flag=QualityFlag.RANGE)  # stored and not used
    heard.archive.commit(include_open=True)
    heard.archive.maintain(is_whole=True)
    points = heard.open("points", resolution="1min").sel(point=POINT)
    assert seconds_of(points) == [0, 60, 120]
    assert points["value_min"].values[:2].tolist() == [0.0, 60.0]
    assert points["value_mean"].values[:2].tolist() == [29.5, 89.5]
    assert points["value_max"].values[:2].tolist() == [59.0, 119.0]
    assert points["value_count"].values.tolist() == [60, 60, 0]
    assert np.isnan(points["value_max"].values[2])
    for resolution in ("15min", "1h"):
        chips = heard.open("racks", resolution=resolution).isel(rack=0, chip=1)
        assert seconds_of(chips) == [0]
        assert chips["power_min"].item() == 0.125
        assert chips["power_mean"].item() == 59.625
        assert chips["power_max"].item() == 119.125
        assert chips["power_count"].item() == 120
        assert chips["power_mean"].attrs["units"] == "W"


@pytest.mark.slow
def test_largest_values_roll_up(heard):
    """Sensitivity: their sum overflowed, so the mean was infinite, with a warning."""
    great = float(np.finfo(np.float64).max)
    heard.hear(*(value(second, great) for second in range(3600)))
    heard.hear(*(value(second, -great / 2) for second in range(3600, 3605)))
    heard.archive.commit(include_open=True)
    heard.archive.maintain(is_whole=True)
    for resolution in ("1min", "15min", "1h"):
        points = heard.open("points", resolution=resolution).isel(point=0)
        means = points["value_mean"].values.tolist()
        assert len(means) > 0
        for mean in means:
            assert mean in (great, pytest.approx(-great / 2))
        assert points["value_max"].values.max() == great


@pytest.mark.slow
def test_sparse_plants_are_rolled_up_by_the_hour(heard):
    for step in range(9):
        heard.hear(batch("r0001", 900 * step, interval=np.timedelta64(900, "s")), tick(900 * step))
        heard.archive.commit()
    heard.archive.maintain(is_whole=True)
    hours = heard.open("racks", resolution="1h").isel(rack=0, chip=0)
    assert seconds_of(hours) == [0, 3600, 7200]
    assert hours["power_mean"].values.tolist() == [1350.0, 4950.0, 7200.0]
    assert hours["power_count"].values.tolist() == [4, 4, 1]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["one by one", "many"])
def test_wrong_interval_does_not_make_day_sparse(heard, way):
    """Sensitivity: the last source before the first commit of a day decided for all of it."""
    minute = np.timedelta64(61, "s")
    for second in range(0, 120, 20):
        heard.hear(*(batch(f"r000{rack}", second) for rack in range(3)), value(second, 1.0))
    if way == "one by one":
        heard.hear(batch("r0000", 100, interval=minute))
    else:
        wrong = RackBatchBlock(
            rack_labels=["hall_1/r0000", "hall_1/r0001"],
            seconds=np.full(2, int(START.astype("datetime64[s]").astype(int)) + 100),
            values=np.ones((2, 5, 3), dtype=np.float32),
            intervals=np.array([1.0, 61.0]),
            subsecond_offsets=np.zeros(2, dtype=np.int16),
        )
        assert heard.archive.add_racks(wrong, JournalPosition(1, 9999)) == []
    heard.hear(tick(119))  # a plant with intervals of 15 min that reports in between
    heard.archive.commit(include_open=True)
    heard.archive.maintain(is_whole=True)
    for group, name in (("racks", "power_count"), ("points", "value_count")):
        counts = heard.open(group, resolution="1min")[name].values
        assert (counts == 3).all()


@pytest.mark.slow
def test_frequent_points_are_not_sparse(heard):
    for rack in range(3):
        heard.hear(batch(f"r000{rack}", 0, interval=np.timedelta64(900, "s")))
    heard.hear(*(value(second, 1.0) for second in range(0, 60, 20)))
    heard.archive.commit(include_open=True)
    heard.archive.maintain(is_whole=True)
    assert heard.open("points", resolution="1min")["value_count"].values.tolist() == [[3]]
    assert heard.open("racks", resolution="1h")["power_count"].values[0, :, 0].tolist() == [1] * 3


@pytest.mark.slow
def test_each_level_is_kept_for_its_time(tmp_path):
    heard = Heard(tmp_path, retention={"raw": timedelta(days=1), "1min": timedelta(days=2)})
    day = 86_400
    for first in range(0, 4 * day, day):
        fill(heard, range(first, first + 120, 30))
    heard.archive.maintain(is_whole=True)
    assert seconds_of(heard.open("racks")) == [
        first + second for first in (2 * day, 3 * day) for second in range(0, 120, 30)
    ]
    minutes = heard.open("racks", resolution="1min")
    has_any = minutes["power_count"].isel(rack=0, chip=0) > 0
    assert seconds_of(minutes.isel(time=has_any.values)) == [
        first + second for first in (day, 2 * day, 3 * day) for second in (0, 60)
    ]
    hours = heard.open("racks", resolution="1h")["power_count"].isel(rack=0, chip=0)
    assert hours.values.tolist() == [4, 4, 4, 4]


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["tick", "value"])
def test_wrong_stamp_deletes_nothing(heard, wrong):
    """A moment that hardly anybody spoke of emptied the archive of all that was older."""
    fill(heard, range(0, 120, 30))
    far = 72 * 365 * 86_400
    heard.hear(tick(far) if wrong == "tick" else value(far, 20.0))
    heard.archive.commit(include_open=True)
    heard.archive.maintain(is_whole=True)
    assert seconds_of(heard.open("racks")) == [0, 30, 60, 90]


@pytest.mark.slow
def test_reader_sees_whole_hour_during_compaction(heard):
    fill(heard, range(0, 4000, 10))
    opened = heard.open("racks")
    heard.archive.maintain(is_whole=False)
    assert opened["power"].isel(rack=1, chip=0).values.tolist() == [1.0] * 400


@pytest.mark.slow
def test_failed_compaction_changes_nothing(heard, monkeypatch):
    fill(heard, range(0, 4000, 10))
    before = heard.open("racks").load()

    def fail(*_, **__):
        raise OSError(28, "no room")

    with monkeypatch.context() as patch:
        patch.setattr("telemetry.archive.maintenance.compact_hours", fail)
        with pytest.raises(ArchiveError, match=r"cannot be compacted: .*no room"):
            heard.archive.maintain(is_whole=True)
    assert heard.open("racks").load().identical(before)
    assert heard.archive.maintain(is_whole=True) == 4
    assert heard.open("racks").load().identical(before)


@pytest.mark.slow
def test_expired_view_is_reported(heard):
    fill(heard, range(0, 4000, 100))
    opened = heard.open("racks")
    heard.archive.maintain(is_whole=True)
    with pytest.raises(ArchiveError, match=r"open the archive again"):
        opened["power"].load()
    assert heard.open("racks")["power"].load().sizes["time"] == 40
