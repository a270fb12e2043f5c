"""Random late readings between compactions neither hide nor overwrite their neighbours."""

import numpy as np
import pytest

from telemetry.messages.samples import CHIP_VARIABLES
from tests.support.archives import START, batch, value

HOURS = 1
POINTS = [f"Sensor/GenericPoint/rhine/{number}/x" for number in range(70)]  # two blocks of columns
RACKS = ["r0001", "r0002", "r0003"]
ROLLED = {"1min": 60, "15min": 900, "1h": 3600}

BOTH = pytest.mark.parametrize("group", ["points", "racks"])


def label(group, name):
    return name if group == "points" else f"hall_1/{name}"


def said(group, name, second, number, chips=3):
    if group == "points":
        return value(second, number, point=name)
    return batch(name, second, value=number, chips=chips)


class Model:
    """What an archive must hold: (label, second) -> the first value that came."""

    def __init__(self, heard, group, random):
        self.heard, self.group, self.random = heard, group, random
        self.held = {}
        self.names = POINTS if group == "points" else RACKS

    def hear(self, names, second, *, chips=3):
        for name in names:
            number = float(self.random.integers(1, 1000))
            self.heard.hear(said(self.group, name, second, number, chips))
            self.held.setdefault((label(self.group, name), second), number)

    def late(self, count):
        """Send readings of single labels, with duplicates of other values."""
        said = set()
        while len(said) < count:
            name = self.names[self.random.integers(len(self.names))]
            second = 60 * int(self.random.integers(HOURS * 60)) + int(self.random.integers(6)) * 10
            if (name, second) not in said:
                said.add((name, second))
                self.hear([name], second, chips=int(self.random.integers(1, 4)))

    def table(self, labels, seconds):
        found = np.full((len(seconds), len(labels)), np.nan)
        rows = {second: row for row, second in enumerate(seconds)}
        columns = {one: column for column, one in enumerate(labels)}
        for (name, second), number in self.held.items():
            found[rows[second], columns[name]] = number
        return found

    def check(self):
        """Compare every cell."""
        opened = self.heard.open(self.group).load()
        seconds = ((opened["time"].values - START) / np.timedelta64(1, "s")).astype(int).tolist()
        labels = opened[self.group[:-1]].values.tolist()
        wanted = self.table(labels, seconds)
        for name in ["value"] if self.group == "points" else CHIP_VARIABLES:
            found = opened[name] if self.group == "points" else opened[name].isel(chip=0)
            assert np.array_equal(found.values, wanted, equal_nan=True)
        for resolution, step in ROLLED.items():
            self._check_rolled(resolution, step)

    def _check_rolled(self, resolution, step):
        """Compare the roll-ups of the hours that are compacted."""
        opened = self.heard.open(self.group, resolution=resolution).load()
        if self.group == "racks":
            opened = opened.isel(chip=0)
        name = "value" if self.group == "points" else "power"
        labels = opened[self.group[:-1]].values.tolist()
        wanted = self.table(labels, range(HOURS * 3600)).reshape(-1, step, len(labels))
        spans = ((opened["time"].values - START) / np.timedelta64(step, "s")).astype(int)
        is_there = np.isfinite(wanted[spans])
        assert np.array_equal(opened[f"{name}_count"].values, is_there.sum(axis=1))
        greatest = np.where(is_there, wanted[spans], -np.inf).max(axis=1)
        found = opened[f"{name}_max"].values
        assert np.array_equal(np.where(np.isnan(found), -np.inf, found), greatest)


@pytest.mark.slow
@BOTH
def test_late_readings_between_compactions(heard, group):
    """Sensitivity: a late reading hid 63 points for its minute and lost it in their roll-ups."""
    model = Model(heard, group, np.random.default_rng(2))
    for second in range(0, HOURS * 3600, 60):
        half = model.names[second // 60 % 2 :: 2]  # leave room for late readings
        model.hear(half, second)
    heard.archive.commit(include_open=True)
    heard.archive.maintain(is_whole=True)
    for _ in range(2):
        for _ in range(2):
            model.late(25)
            heard.archive.commit(include_open=True)
        heard.archive.maintain(is_whole=True)
        model.check()


@pytest.mark.slow
@BOTH
def test_late_readings_hide_no_neighbours(heard, group):
    model = Model(heard, group, np.random.default_rng(0))
    model.hear(model.names, 10)
    heard.archive.commit(include_open=True)
    heard.archive.maintain(is_whole=True)
    model.hear(model.names[:1], 20, chips=1)
    model.hear(model.names[1:2], 10)  # a duplicate with another value
    heard.archive.commit(include_open=True)
    opened = heard.open(group).load()
    values = opened["value"] if group == "points" else opened["power"]
    before = values.sel(time=START + np.timedelta64(10, "s"))
    wanted = [model.held[label(group, name), 10] for name in model.names]
    assert np.array_equal(before.values.T, np.broadcast_to(wanted, before.values.T.shape))


@pytest.mark.slow
@BOTH
def test_minute_with_one_late_reading_hides_no_hour(heard, group):
    model = Model(heard, group, np.random.default_rng(1))
    for second in range(0, 3600, 60):
        model.hear(model.names, second)
    heard.archive.commit(include_open=True)
    heard.archive.maintain(is_whole=True)
    model.hear(model.names[:1], 610)
    heard.archive.commit(include_open=True)
    for _ in range(2):
        opened = heard.open(group).load()
        assert np.isfinite(opened["value" if group == "points" else "power"].values).sum() == (
            60 * len(POINTS) + 1 if group == "points" else 3 * (60 * len(RACKS) + 1)
        )
        heard.archive.maintain(is_whole=True)
    model.check()
