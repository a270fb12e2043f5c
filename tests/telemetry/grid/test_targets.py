"""Load targets: the latest of each issuer applies, the tightest binds, none is lost."""

import json

import numpy as np
import pytest

from telemetry.feed import load_targets
from telemetry.feed.flex_messages import LoadTarget, LoadTargetMessage
from telemetry.feed.load_targets import MAX_ACTIVE_TARGETS, LoadTargetStore
from twin.errors import IssueCode, MessageError

NOW = np.datetime64("2026-07-01T12:00", "us")
MINUTE = np.timedelta64(1, "m")
EDGES = NOW + 15 * MINUTE * np.arange(5)


def asked(power=100.0, *, start=None, end=None, feeds=(), best=False):
    """Return a target; minutes from NOW."""
    first, last = (None if at is None else NOW + at * MINUTE for at in (start, end))
    return LoadTarget(start=first, end=last, feeds=feeds, power=power, is_best_effort=best)


class Desk:
    def __init__(self, folder):
        self.folder, self.count = folder, 0
        self.book = LoadTargetStore(folder / "targets.json", feed="rhine", max_power=150.0)

    def take(self, *targets, by="tso", at=0, now=0, signed=None):
        self.count += 1
        message = LoadTargetMessage(
            correlation=f"c{self.count}",
            time=NOW + at * MINUTE,
            trace="",
            signed=signed or f"h.s{self.count}.x",
            targets=targets,
        )
        return self.book.accept(by, message, NOW + now * MINUTE)

    def limit(self, by="tso"):
        return self.book.limit_by_interval(by, EDGES)[0].tolist()


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_no_target_means_no_limit(desk):
    assert desk.limit() == [np.inf] * 4
    assert desk.book.tightest(NOW) is None


def test_open_target_applies_until_replaced_or_lifted(desk):
    desk.take(asked(100.0))
    assert desk.limit() == [100.0] * 4
    desk.take(asked(120.0), at=1)
    assert desk.limit() == [120.0] * 4
    desk.take(asked(None), at=2)
    assert desk.limit() == [np.inf] * 4


def test_future_target_leaves_the_current_one(desk):
    desk.take(asked(100.0))
    desk.take(asked(60.0, start=30, end=45))
    assert desk.limit() == [100.0, 100.0, 60.0, 100.0]


def test_lowest_target_limits_the_whole_interval(desk):
    """60 MW from 12:20 to 12:25 limit the mean of the whole quarter-hour."""
    desk.take(asked(60.0, start=20, end=25))
    assert desk.limit() == [np.inf, 60.0, np.inf, np.inf]


def spans(desk, now=0):
    """Return the active targets: power, start and end in minutes from NOW, correlation."""
    rows = []
    for one in desk.book.current_and_future(NOW + now * MINUTE):
        start, end = (
            None if at is None else int((at - NOW) / MINUTE)
            for at in (one.target.start, one.target.end)
        )
        rows.append((one.target.power, start, end, one.correlation))
    return rows


def test_lifted_window_leaves_the_target_around_it(desk):
    """Proves: 100 MW lifted from 13:00 to 14:00 apply until 13:00 and from 14:00 on.

    Sensitivity: 100 MW without an end, as if nothing had been lifted.
    """
    desk.take(asked(100.0))
    desk.take(asked(None, start=60, end=120))
    assert spans(desk) == [(100.0, 0, 60, "c1"), (100.0, 120, None, "c1")]
    assert spans(desk, now=60) == [(100.0, 120, None, "c1")]
    assert desk.book.tightest(NOW + 90 * MINUTE) is None
    assert spans(Desk(desk.folder)) == spans(desk)


def test_one_of_overlapping_targets_applies(desk):
    desk.take(asked(100.0, end=60), asked(60.0, start=30, end=90))
    desk.take(asked(80.0, start=40, end=50), by="dso")
    assert spans(desk) == [(100.0, 0, 30, "c1"), (60.0, 30, 90, "c1"), (80.0, 40, 50, "c2")]
    assert desk.book.tightest(NOW + 45 * MINUTE).target.power == 60.0


def test_file_with_overlapping_targets_is_resolved(desk):
    desk.take(asked(100.0))
    path = desk.folder / "targets.json"
    stored = json.loads(path.read_text())
    del stored["checksum"]
    lifted = stored["held"][0] | {"power": None, "start": str(NOW + 60 * MINUTE)}
    path.write_text(json.dumps(stored | {"held": [*stored["held"], lifted]}))
    assert spans(Desk(desk.folder)) == [(100.0, 0, 60, "c1")]


def test_tightest_target_of_all_issuers_is_active(desk):
    desk.take(asked(100.0), by="tso")
    desk.take(asked(90.0), by="dso")
    desk.take(asked(None), by="other")
    assert (desk.limit("tso"), desk.limit("dso")) == ([100.0] * 4, [90.0] * 4)
    assert desk.book.tightest(NOW).issuer == "dso"


def test_firm_target_precedes_an_equal_best_effort(desk):
    desk.take(asked(100.0, best=True), asked(100.0, start=5, end=10))
    assert desk.book.limit_by_interval("tso", EDGES)[1].tolist() == [False, True, True, True]


def test_best_effort_does_not_relax_a_firm_target(desk):
    """Proves: firm 100 MW and best-effort 90 MW from 12:10 limit 12:00 to 90 MW, firm.

    Sensitivity: 90 MW at the best-effort price, where 150 MW may be cheaper.
    """
    desk.take(asked(100.0))
    desk.take(asked(90.0, start=10, end=15, best=True))
    power, is_best = desk.book.limit_by_interval("tso", EDGES)
    assert power.tolist() == [90.0, 100.0, 100.0, 100.0]
    assert not is_best.any()


def test_lift_does_not_make_a_best_effort_firm(desk):
    desk.take(asked(90.0, best=True))
    desk.take(asked(None, end=5))
    assert desk.book.limit_by_interval("tso", EDGES)[1].tolist() == [True] * 4


def test_message_for_other_feeds_changes_nothing(desk):
    """Proves: a message of 12:02 for iberia does not outdate one of 12:01 for this feed."""
    assert desk.take(asked(1000.0, feeds=("iberia",)), at=2, signed="s") == ()
    assert desk.take(asked(90.0), at=1)
    assert desk.limit() == [90.0] * 4


def test_target_of_another_feed_is_ignored(desk):
    assert desk.take(asked(10.0, feeds=("iberia",)), asked(90.0, feeds=("iberia", "rhine")))
    assert desk.limit() == [90.0] * 4


def test_targets_survive_a_restart(desk):
    desk.take(asked(100.0, end=45, best=True))
    again = Desk(desk.folder)
    assert again.limit() == [100.0, 100.0, 100.0, np.inf]
    assert again.book.current_and_future(NOW) == desk.book.current_and_future(NOW)
    with pytest.raises(MessageError) as error:
        again.take(asked(120.0), signed="h.s1.y")
    assert error.value.code is IssueCode.REPLAYED


@pytest.mark.parametrize("junk", ["", "{", "[]", "null", '{"held": [{}]}', '{"held": 3}'])
def test_broken_file_is_set_aside(desk, junk):
    desk.take(asked(100.0))
    (desk.folder / "targets.json").write_text(junk)
    again = Desk(desk.folder)
    assert again.limit() == [np.inf] * 4
    assert (desk.folder / "targets.broken").read_text() == junk
    again.take(asked(90.0))
    assert Desk(desk.folder).limit() == [90.0] * 4


@pytest.mark.parametrize("again", ["h.p.s", "h.p.n-s"])
def test_signed_text_counts_once(desk, again):
    """Proves: header and payload identify a text; (r, n - s) is as valid a signature as (r, s)."""
    desk.take(asked(60.0), signed="h.p.s")
    desk.take(asked(None), at=1)
    with pytest.raises(MessageError) as error:
        desk.take(asked(60.0), at=2, signed=again)
    assert error.value.code is IssueCode.REPLAYED
    assert desk.limit() == [np.inf] * 4


def test_issuers_have_separate_replay_memories(desk, monkeypatch):
    """Sensitivity: with a shared memory, a target that tso had lifted applies again."""
    monkeypatch.setattr(load_targets, "MAX_REMEMBERED_MESSAGES", 3)
    desk.take(asked(60.0), signed="h.p.s")
    desk.take(asked(None))
    for _ in range(4):
        desk.take(asked(100.0), by="dso")
    with pytest.raises(MessageError) as error:
        desk.take(asked(60.0), signed="h.p.s")
    assert error.value.code is IssueCode.REPLAYED
    assert desk.limit() == [np.inf] * 4


def test_unconfirmed_targets_survive_a_restart(desk):
    desk.take(asked(100.0))
    desk.take(asked(90.0), by="dso")
    again = Desk(desk.folder).book
    assert again.unconfirmed == (("c1", ""), ("c2", ""))
    again.mark_confirmed([("c1", "")])
    assert Desk(desk.folder).book.unconfirmed == (("c2", ""),)


@pytest.mark.parametrize(
    ("wrong", "at", "code"),
    [
        (asked(150.1), 0, IssueCode.OUT_OF_RANGE),
        (asked(end=0), 0, IssueCode.EXPIRED),
        (asked(start=-60, end=-30), 0, IssueCode.EXPIRED),
        (asked(start=600_000), 0, IssueCode.OUT_OF_RANGE),
        (asked(), 6, IssueCode.OUT_OF_RANGE),
        (asked(), -2, IssueCode.REPLAYED),
    ],
)
def test_invalid_target_has_no_effect(desk, wrong, at, code):
    desk.take(asked(100.0), at=-1)
    with pytest.raises(MessageError) as error:
        desk.take(asked(50.0), wrong, at=at)
    assert error.value.code is code
    assert desk.limit() == [100.0] * 4


def test_number_of_active_targets_is_limited(desk):
    desk.take(*(asked(100.0, start=5 * i, end=5 * i + 5) for i in range(MAX_ACTIVE_TARGETS)))
    with pytest.raises(MessageError) as error:
        desk.take(asked(90.0, start=9000, end=9001))
    assert error.value.code is IssueCode.TOO_LARGE
    desk.take(asked(90.0))  # hides all of them
    assert len(desk.book.current_and_future(NOW)) == 1


def test_ended_targets_are_deleted(desk):
    desk.take(asked(100.0, end=30))
    desk.take(asked(90.0, start=60, end=90), now=31, at=31)
    assert [one.target.power for one in desk.book.current_and_future(NOW + 31 * MINUTE)] == [90.0]
