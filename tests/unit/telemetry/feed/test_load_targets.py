"""Load targets: the latest of each issuer applies, the tightest binds, none is lost."""

import json
from hashlib import sha256

import numpy as np
import pytest

from telemetry.feed import load_targets
from telemetry.feed.flex_messages import LoadTarget, LoadTargetMessage, SignedClaims
from telemetry.feed.load_targets import MAX_ACTIVE_TARGETS, IssuerTerms, LoadTargetStore
from twin.errors import IssueCode, MessageError

NOW = np.datetime64("2026-07-01T12:00", "us")
MINUTE = np.timedelta64(1, "m")
EDGES = NOW + 15 * MINUTE * np.arange(5)


def load_target(power=100.0, *, start=None, end=None, feeds=(), best=False):
    """Return a target; minutes from NOW."""
    first, last = (None if at is None else NOW + at * MINUTE for at in (start, end))
    return LoadTarget(start=first, end=last, feeds=feeds, power=power, is_best_effort=best)


class Partners:
    def __init__(self, folder):
        self.folder, self.count = folder, 0
        self.store = LoadTargetStore(folder / "targets.json", feed="rhine", max_power=150.0)

    def accept(self, *targets, by="tso", at=0, now=0, terms=None, **others):
        """Accept a message issued at a minute; `others` replace its claims or other fields."""
        self.count += 1
        claims = {"issued": NOW + at * MINUTE, "jti": f"t{self.count}", "audience": ("rhine",)}
        fields = {"time": NOW + at * MINUTE, "signed_text": f"h.s{self.count}.x"} | others
        message = LoadTargetMessage(
            correlation=f"c{self.count}",
            trace="",
            targets=targets,
            claims=SignedClaims(**{name: fields.pop(name, claims[name]) for name in claims}),
            **fields,
        )
        self.store.terms = {by: terms or IssuerTerms()}
        return self.store.accept(by, message, NOW + now * MINUTE)

    def limit(self, by="tso"):
        return self.store.limit_by_interval(by, EDGES)[0].tolist()


@pytest.fixture
def partners(tmp_path):
    return Partners(tmp_path)


def test_no_target_means_no_limit(partners):
    assert partners.limit() == [np.inf] * 4
    assert partners.store.tightest_in_force(NOW) is None


def test_open_target_applies_until_replaced_or_lifted(partners):
    partners.accept(load_target(100.0))
    assert partners.limit() == [100.0] * 4
    partners.accept(load_target(120.0), at=1)
    assert partners.limit() == [120.0] * 4
    partners.accept(load_target(None), at=2)
    assert partners.limit() == [np.inf] * 4


def test_future_target_leaves_the_current_one(partners):
    partners.accept(load_target(100.0))
    partners.accept(load_target(60.0, start=30, end=45))
    assert partners.limit() == [100.0, 100.0, 60.0, 100.0]


def test_lowest_target_limits_the_whole_interval(partners):
    """60 MW from 12:20 to 12:25 limit the mean of the whole quarter-hour."""
    partners.accept(load_target(60.0, start=20, end=25))
    assert partners.limit() == [np.inf, 60.0, np.inf, np.inf]


def spans(partners, now=0):
    """Return the active targets: power, start and end in minutes from NOW, correlation."""
    rows = []
    for one in partners.store.current_and_future(NOW + now * MINUTE):
        start, end = (
            None if at is None else int((at - NOW) / MINUTE)
            for at in (one.target.start, one.target.end)
        )
        rows.append((one.target.power, start, end, one.correlation))
    return rows


def test_lifted_window_leaves_the_target_around_it(partners):
    """Proves: 100 MW lifted from 13:00 to 14:00 apply until 13:00 and from 14:00 on.

    Sensitivity: 100 MW without an end, as if nothing had been lifted.
    """
    partners.accept(load_target(100.0))
    partners.accept(load_target(None, start=60, end=120))
    assert spans(partners) == [(100.0, 0, 60, "c1"), (100.0, 120, None, "c1")]
    assert spans(partners, now=60) == [(100.0, 120, None, "c1")]
    assert partners.store.tightest_in_force(NOW + 90 * MINUTE) is None
    assert spans(Partners(partners.folder)) == spans(partners)


def test_one_of_overlapping_targets_applies(partners):
    partners.accept(load_target(100.0, end=60), load_target(60.0, start=30, end=90))
    partners.accept(load_target(80.0, start=40, end=50), by="dso")
    assert spans(partners) == [(100.0, 0, 30, "c1"), (60.0, 30, 90, "c1"), (80.0, 40, 50, "c2")]
    assert partners.store.tightest_in_force(NOW + 45 * MINUTE).target.power == 60.0


def test_file_with_overlapping_targets_is_resolved(partners):
    partners.accept(load_target(100.0))
    path = partners.folder / "targets.json"
    stored = json.loads(path.read_text())
    del stored["checksum"]
    lifted = stored["held"][0] | {"power": None, "start": str(NOW + 60 * MINUTE)}
    path.write_text(json.dumps(stored | {"held": [*stored["held"], lifted]}))
    assert spans(Partners(partners.folder)) == [(100.0, 0, 60, "c1")]


def test_tightest_target_of_all_issuers_is_active(partners):
    partners.accept(load_target(100.0), by="tso")
    partners.accept(load_target(90.0), by="dso")
    partners.accept(load_target(None), by="other")
    assert (partners.limit("tso"), partners.limit("dso")) == ([100.0] * 4, [90.0] * 4)
    assert partners.store.tightest_in_force(NOW).issuer == "dso"


def test_firm_target_precedes_an_equal_best_effort(partners):
    partners.accept(load_target(100.0, best=True), load_target(100.0, start=5, end=10))
    assert partners.store.limit_by_interval("tso", EDGES)[1].tolist() == [False, True, True, True]


def test_best_effort_does_not_relax_a_firm_target(partners):
    """Proves: firm 100 MW and best-effort 90 MW from 12:10 limit 12:00 to 90 MW, firm.

    Sensitivity: 90 MW at the best-effort price, where 150 MW may be cheaper.
    """
    partners.accept(load_target(100.0))
    partners.accept(load_target(90.0, start=10, end=15, best=True))
    power, is_best = partners.store.limit_by_interval("tso", EDGES)
    assert power.tolist() == [90.0, 100.0, 100.0, 100.0]
    assert not is_best.any()


def test_lift_does_not_make_a_best_effort_firm(partners):
    partners.accept(load_target(90.0, best=True))
    partners.accept(load_target(None, end=5))
    assert partners.store.limit_by_interval("tso", EDGES)[1].tolist() == [True] * 4


def test_message_for_other_feeds_changes_nothing(partners):
    """Proves: a message of 12:02 for iberia does not outdate one of 12:01 for this feed."""
    assert partners.accept(load_target(1000.0, feeds=("iberia",)), at=2, signed_text="s") == ()
    assert partners.accept(load_target(90.0), at=1)
    assert partners.limit() == [90.0] * 4


def test_target_of_another_feed_is_ignored(partners):
    assert partners.accept(
        load_target(10.0, feeds=("iberia",)), load_target(90.0, feeds=("iberia", "rhine"))
    )
    assert partners.limit() == [90.0] * 4


def test_targets_survive_a_restart(partners):
    partners.accept(load_target(100.0, end=45, best=True))
    again = Partners(partners.folder)
    assert again.limit() == [100.0, 100.0, 100.0, np.inf]
    assert again.store.current_and_future(NOW) == partners.store.current_and_future(NOW)
    with pytest.raises(MessageError) as error:
        again.accept(load_target(120.0), jti="t1")
    assert error.value.code is IssueCode.REPLAYED


@pytest.mark.parametrize("junk", ["", "{", "[]", "null", '{"held": [{}]}', '{"held": 3}'])
def test_broken_file_is_set_aside(partners, junk):
    partners.accept(load_target(100.0))
    (partners.folder / "targets.json").write_text(junk)
    again = Partners(partners.folder)
    assert again.limit() == [np.inf] * 4
    assert (partners.folder / "targets.broken").read_text() == junk
    again.accept(load_target(90.0))
    assert Partners(partners.folder).limit() == [90.0] * 4


def test_after_a_loss_no_earlier_message_is_accepted(partners):
    """Proves: a message that was lost with the file is not accepted again, also after restarts.

    Sensitivity: the same jti was accepted again, which brought back a lifted target.
    """
    partners.accept(load_target(60.0), jti="old")
    path = partners.folder / "targets.json"
    path.write_text("{")
    Partners(partners.folder)  # sets the file aside, and stores nothing
    again = Partners(partners.folder)
    assert refusal(again, load_target(60.0), jti="old", now=1) is IssueCode.REPLAYED
    assert again.accept(load_target(90.0), jti="new", at=2, now=2)
    last = Partners(partners.folder)
    assert refusal(last, load_target(60.0), jti="old", by="dso", now=3) is IssueCode.REPLAYED
    assert last.accept(load_target(80.0), jti="other", by="dso", at=3, now=3)


def test_clock_that_was_ahead_at_a_loss_does_not_refuse_later_messages(partners):
    partners.accept(load_target(60.0), jti="old")
    (partners.folder / "targets.json").write_text("{")
    last = Partners(partners.folder)
    last.store.current_and_future(NOW + 525_600 * MINUTE)
    assert refusal(last, load_target(60.0), jti="old", now=3) is IssueCode.REPLAYED
    assert last.accept(load_target(80.0), at=4, now=4)


PLAIN = {"issued": None, "jti": "", "audience": ()}
UNSIGNED = IssuerTerms(accepts_unsigned_times=True)
WINDOW = {"start": 0, "end": 60}


def refusal(partners, *targets, **others):
    """Return the code with which a message is refused."""
    before = partners.limit()
    with pytest.raises(MessageError) as error:
        partners.accept(*targets, **others)
    assert partners.limit() == before
    return error.value.code


def test_message_counts_once_by_its_signed_id(partners):
    """Proves: another envelope time, payload or signature does not make a message new."""
    partners.accept(load_target(60.0), jti="once")
    partners.accept(load_target(None), at=1)
    again = {"jti": "once", "signed_text": "other.text.s", "time": NOW + 3 * MINUTE}
    assert refusal(partners, load_target(60.0), at=2, **again) is IssueCode.REPLAYED


@pytest.mark.parametrize("again", ["h.p.s", "h.p.n-s"])
def test_plain_text_counts_once_until_its_targets_end(partners, again):
    """Proves: header and payload identify a text; (r, n - s) is as valid a signature as (r, s)."""
    plain = {"terms": UNSIGNED, **PLAIN}
    partners.accept(load_target(60.0, **WINDOW), signed_text="h.p.s", **plain)
    partners.accept(load_target(None, **WINDOW), at=50, now=50, **plain)
    late = {"at": 59, "now": 59, "signed_text": again, **plain}
    assert refusal(partners, load_target(60.0, **WINDOW), **late) is IssueCode.REPLAYED


@pytest.mark.parametrize("name", PLAIN)
def test_message_without_a_signed_claim_is_refused(partners, name):
    missing = {name: PLAIN[name]}
    assert refusal(partners, load_target(60.0, **WINDOW), **missing) is IssueCode.MISSING


@pytest.mark.parametrize("missing", ["start", "end"])
def test_message_without_signed_times_needs_start_and_end(partners, missing):
    plain = {"terms": UNSIGNED, **PLAIN}
    part = load_target(60.0, **{**WINDOW, missing: None})
    assert refusal(partners, part, **plain) is IssueCode.MISSING
    assert partners.accept(load_target(60.0, **WINDOW), **plain)
    endless = load_target(60.0, start=0, end=366 * 1440 + 1)
    assert refusal(partners, endless, **plain) is IssueCode.OUT_OF_RANGE


def test_message_for_another_site_is_refused(partners):
    wrong = {"audience": ("iberia",)}
    assert refusal(partners, load_target(60.0), **wrong) is IssueCode.UNAUTHORISED
    assert refusal(partners, load_target(60.0, **WINDOW), **PLAIN | wrong, terms=UNSIGNED) is (
        IssueCode.UNAUTHORISED
    )
    assert partners.accept(load_target(60.0), audience=("iberia", "rhine"))


def test_age_counts_from_the_signed_time(partners):
    """Proves: an envelope of now does not make a message of six minutes ago young."""
    old = {"at": 0, "now": 6, "time": NOW + 6 * MINUTE}
    assert refusal(partners, load_target(60.0), **old) is IssueCode.EXPIRED
    assert partners.accept(load_target(60.0), **old, terms=IssuerTerms(max_age=10 * MINUTE))


def test_order_follows_the_signed_time(partners):
    """Proves: a withheld target does not replace a later one by a new envelope time."""
    partners.accept(load_target(None), at=2, now=2)
    withheld = {"at": 1, "now": 3, "time": NOW + 3 * MINUTE}
    assert refusal(partners, load_target(60.0), **withheld) is IssueCode.REPLAYED


def test_traffic_of_an_issuer_does_not_erase_its_replay_memory(partners, monkeypatch):
    """Proves: one message too many is refused, and the first one is still known.

    Sensitivity: the newest messages pushed the oldest out, which was then accepted again.
    """
    monkeypatch.setattr(load_targets, "MAX_REMEMBERED_MESSAGES", 3)
    partners.accept(load_target(60.0), jti="first")
    partners.accept(load_target(None))
    partners.accept(load_target(None))
    assert refusal(partners, load_target(None)) is IssueCode.TOO_LARGE
    assert refusal(partners, load_target(60.0), jti="first") is IssueCode.REPLAYED
    assert partners.accept(load_target(90.0), by="dso")
    assert partners.accept(load_target(None), at=11, now=11)  # those of 12:00 are too old by now


def test_replay_memory_covers_age_and_clock_difference(partners):
    """Proves: it survives a restart, and a clock that is set back makes no message acceptable."""
    partners.accept(load_target(60.0), jti="early", at=5, now=0)  # a clock that is ahead
    partners.accept(load_target(None), at=9, now=9)
    again = Partners(partners.folder)
    assert refusal(again, load_target(60.0), jti="early", at=5, now=9) is IssueCode.REPLAYED
    again.accept(load_target(None), at=60, now=60, jti="later")
    assert refusal(again, load_target(60.0), jti="early", at=5, now=0) is IssueCode.REPLAYED
    assert refusal(again, load_target(60.0), jti="later", at=60, now=60) is IssueCode.REPLAYED


def test_replay_memory_of_an_older_version_is_read(partners):
    """Proves: digests that were stored without times still refuse their texts."""
    partners.accept(load_target(60.0), at=1, now=1)
    path = partners.folder / "targets.json"
    stored = json.loads(path.read_text())
    del stored["checksum"]
    stored["heard"]["tso"]["seen"] = [sha256(b"h.old").hexdigest()]
    path.write_text(json.dumps(stored))
    plain = {"terms": UNSIGNED, **PLAIN, "at": 2, "now": 2, "signed_text": "h.old.s"}
    again = Partners(partners.folder)
    assert refusal(again, load_target(60.0, **WINDOW), **plain) is IssueCode.REPLAYED


def test_unconfirmed_targets_survive_a_restart(partners):
    partners.accept(load_target(100.0))
    partners.accept(load_target(90.0), by="dso")
    again = Partners(partners.folder).store
    assert again.unconfirmed == (("c1", ""), ("c2", ""))
    again.mark_confirmed([("c1", "")])
    assert Partners(partners.folder).store.unconfirmed == (("c2", ""),)


@pytest.mark.parametrize(
    ("wrong", "at", "code"),
    [
        (load_target(150.1), 0, IssueCode.OUT_OF_RANGE),
        (load_target(end=0), 0, IssueCode.EXPIRED),
        (load_target(start=-60, end=-30), 0, IssueCode.EXPIRED),
        (load_target(start=600_000), 0, IssueCode.OUT_OF_RANGE),
        (load_target(), 6, IssueCode.OUT_OF_RANGE),
        (load_target(), -2, IssueCode.REPLAYED),
    ],
)
def test_invalid_target_has_no_effect(partners, wrong, at, code):
    partners.accept(load_target(100.0), at=-1)
    with pytest.raises(MessageError) as error:
        partners.accept(load_target(50.0), wrong, at=at)
    assert error.value.code is code
    assert partners.limit() == [100.0] * 4


def test_number_of_active_targets_is_limited(partners):
    partners.accept(
        *(load_target(100.0, start=5 * i, end=5 * i + 5) for i in range(MAX_ACTIVE_TARGETS))
    )
    with pytest.raises(MessageError) as error:
        partners.accept(load_target(90.0, start=9000, end=9001))
    assert error.value.code is IssueCode.TOO_LARGE
    partners.accept(load_target(90.0))  # hides all of them
    assert len(partners.store.current_and_future(NOW)) == 1


def test_targets_of_one_message_are_counted_while_they_are_merged(partners, monkeypatch):
    """Proves: merging stops at the first target too many, so 500 cost no seconds."""
    merged = []
    merge = load_targets._merge_targets
    counted = lambda *given: merged.append(0) or merge(*given)  # noqa: E731
    monkeypatch.setattr(load_targets, "_merge_targets", counted)
    many = [load_target(100.0, start=5 * i, end=5 * i + 5) for i in range(500)]
    assert refusal(partners, *many) is IssueCode.TOO_LARGE
    assert len(merged) == MAX_ACTIVE_TARGETS + 1


def test_targets_stored_without_the_id_of_their_message_are_read(partners):
    partners.accept(load_target(100.0), jti="first")
    path = partners.folder / "targets.json"
    stored = json.loads(path.read_text())
    del stored["checksum"], stored["held"][0]["token"], stored["lost"]
    path.write_text(json.dumps(stored))
    (one,) = Partners(partners.folder).store.current_and_future(NOW)
    assert (one.target.power, one.jti) == (100.0, "")
    assert partners.store.current_and_future(NOW)[0].jti == "first"


def test_ended_targets_are_deleted(partners):
    partners.accept(load_target(100.0, end=30))
    partners.accept(load_target(90.0, start=60, end=90), now=31, at=31)
    assert [one.target.power for one in partners.store.current_and_future(NOW + 31 * MINUTE)] == [
        90.0
    ]
