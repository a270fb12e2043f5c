"""A pool of two kinds of work, and jobs by hand."""

import numpy as np
import pytest

from twin.site_settings import Throughput, WorkKind
from twin.time_axes import to_utc
from twin.workload.jobs import Jobs
from twin.workload.queue import RackPool

START = to_utc("2023-06-12")


@pytest.fixture(scope="session")
def pool():
    curve = Throughput(power_points=(0.5, 0.75, 1.0), work_points=(0.6, 0.9, 1.0))
    gang = WorkKind(
        name="gang",
        slack=1.0,
        tolerance=0.1,
        longer_than="6 h",
        pause_loss="0.5 h",
        minimum_run="1 h",
        throughput=curve,
    )
    batch = WorkKind(name="batch", slack=4.0, tolerance=0.4, throughput=curve)
    return RackPool(kinds=(gang, batch), racks=100.0, rack_power=0.1, rack_idle_power=0.02)


@pytest.fixture(scope="session")
def make_jobs():
    """Return jobs from rows of (kind, arrival [h], length [h], racks, due [h])."""

    def make(*rows):
        kind, arrival, length, racks, due = np.array(sorted(rows, key=lambda r: r[1])).T
        hours = np.timedelta64(3_600_000_000, "us")
        return Jobs(
            number=np.arange(len(rows)),
            kind_index=kind.astype(np.int64),
            arrival=START + (arrival * hours).astype("timedelta64[us]"),
            deadline=START + (due * hours).astype("timedelta64[us]"),
            length=length.astype(float),
            racks=racks.astype(float),
        )

    return make


@pytest.fixture(scope="session")
def start():
    return START
