"""What the soak of ingest holds against the archive; `./dev soak ingest` is the whole of it."""

import pytest

from soak import ingest, source
from soak.readback import check
from soak.source import SECOND, START, Numbers
from soak.stand import Stand
from soak.tally import Tally
from telemetry.archive import Archive
from telemetry.journal.format import JournalPosition
from telemetry.messages.samples import PointValue


def test_kills_are_split_between_brokers():
    assert ingest.parts(20) == [(0, 10), (10, 10)]
    assert ingest.parts(1) == [(0, 1)]
    assert [kills for _, kills in ingest.parts(120)] == [40, 40, 40]


@pytest.fixture
def kept(tmp_path):
    """Return a stand after a run of eleven seconds, archived but for one."""
    stand = Stand(tmp_path, "nats")
    Numbers(tmp_path / "source" / "published").add(*range(10))
    Numbers(tmp_path / "source" / "points").add(*range(10))
    return stand


def archive(stand, seconds, *, change=None, points=range(10)):
    kept = Archive(stand.state / "archive", source.SITE)
    for second in seconds:
        for batch in source.batches(second, (1, second)):
            if change and second == 4:
                batch.values[change] += 1.0
            kept.add(batch, JournalPosition(1, second + 1))
    for second in points:
        one = PointValue(point=source.POINT, time=START + second * SECOND, value=float(second))
        kept.add(one, JournalPosition(1, second + 1))
    kept.commit(include_open=True)


def faults(stand):
    return check(stand, Tally())


def test_published_data_is_found_in_the_archive(kept):
    archive(kept, range(10))
    assert faults(kept) == []


def test_second_published_before_a_kill_is_no_fault(kept):
    archive(kept, range(11))
    assert faults(kept) == []


def test_lost_second_is_a_fault(kept):
    archive(kept, [0, 1, 2, 3, 5, 6, 7, 8, 9], points=[0, 1, 2, 3, 5, 6, 7, 8, 9])
    assert faults(kept) == [
        "1 published seconds are absent, the first 4",
        "1 acknowledged points are lost, the first of second 4",
    ]


def test_wrong_value_is_a_fault(kept):
    archive(kept, range(10), change=(0, 2))
    (fault,) = faults(kept)
    assert fault.startswith("power of 12 batches is not what was published, the first of rack 1")


def test_unpublished_seconds_are_a_fault(kept):
    archive(kept, range(14))
    assert faults(kept) == ["3 seconds that nobody published"]


def test_points_lost_by_mosquitto_are_only_counted(kept):
    kept.name = "mosquitto"
    archive(kept, range(10), points=range(8))
    tally = Tally()
    assert check(kept, tally) == []
    assert (tally.points, tally.points_gone) == (10, 2)


@pytest.mark.parametrize(
    ("version", "deaths", "kept_back"),
    [("2.10.27", 2, 2), ("2.10.27", 1, None), ("2.15.1", 2, None)],
)
def test_points_kept_back_by_nats_are_counted(kept, version, deaths, kept_back):
    archive(kept, range(10), points=range(8))
    (kept.broker.folder / "log").write_text(f"[1] [INF]   Version:  {version}\n")
    kept.deaths = deaths
    tally = Tally()
    found = check(kept, tally)
    if kept_back is None:
        assert found == ["2 acknowledged points are lost, the first of second 8"]
    else:
        assert (found, tally.points_kept) == ([], kept_back)


@pytest.mark.long
def test_kills_lose_no_acknowledged_data():
    figures = ingest.run(4, seed=11, say=lambda _: None)
    assert figures["faults"] == []
    assert figures["batches_read_back"] > 0
