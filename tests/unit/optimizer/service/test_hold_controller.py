"""Execution of a HOLD: at once, and whatever else fails."""

import errno
import time
from threading import RLock, Thread
from types import SimpleNamespace

import numpy as np
import pytest
import structlog.testing

from optimizer.realtime.intra_interval import MeteringIntervalControl
from optimizer.realtime.orders import DispatchOrders
from optimizer.service.audit import AUDIT_FILE, AuditLog, read_entries
from optimizer.service.control_between_decisions import IntraIntervalController
from optimizer.service.hold_controller import HoldController
from optimizer.service.hold_register import HoldRegister
from optimizer.service.operators import OPERATORS_FILE, Requester, add_operator
from optimizer.service.status import EndedHold
from telemetry.messages.feed_documents import PublicReason
from tests.support import moments
from twin.errors import IssueCode, JournalError, ServiceError
from twin.time_axes import MINUTE

NOW = np.datetime64("2026-06-16T00:05", "us")
HELD = ("hold", PublicReason.HOLD_BY_PERSON)


class Clock:
    def now(self):
        return NOW


class Link:
    """A plant link that notes when it freezes."""

    def __init__(self):
        self.frozen, self.failure, self.error = [], None, ""
        self.commands = SimpleNamespace(wait_acknowledged=lambda timeout: timeout > 0.0)

    def renew_last_caps(self, now):
        if self.failure:
            raise self.failure
        self.frozen.append(now)


class Partners:
    """Partners that note each published status, with a real audit record."""

    def __init__(self, path):
        self.statuses, self.audit = [], AuditLog(path)
        self.feed = self

    def publish_status(self, state, *, reason, now):
        self.statuses.append((state, reason))


PERSON = Requester(channel="command", uid=1007)
"""A sender who is no operator."""


class Stand:
    def __init__(self, folder, *, is_shadow=False):
        folder.mkdir(exist_ok=True)
        self.overrides = HoldRegister(folder / "hold.json", passed=lambda: time.monotonic())
        self.link, self.partners, self.guarding = (
            Link(),
            Partners(folder / AUDIT_FILE),
            IntraIntervalController(),
        )
        self.eva = Requester(channel="page", token=add_operator(folder, "eva"))
        planned = DispatchOrders(jobs={}, battery_charge={"battery_1": 0.6})
        guard = MeteringIntervalControl(
            site=moments.site(), planned_orders=planned, uncharged_mean_import=2.0
        )
        self.guarding.start_interval(np.datetime64("2026-06-16T00:00", "us"), guard)
        self.halt = HoldController(
            self.overrides,
            clock=Clock(),
            plant_link=self.link,
            partner_link=self.partners,
            intra_interval=self.guarding,
            lock=RLock(),
            is_shadow=is_shadow,
        )


@pytest.fixture
def stand(tmp_path):
    return Stand(tmp_path)


def hold(stand, *, author="ana", reason="work", hours=2.0):
    """Place a HOLD that ends by itself if it has an end; return what else a person must know."""
    is_timed = hours is not None
    placed = {"author": author, "reason": reason, "hours": hours, "is_self_ending": is_timed}
    return stand.halt.hold(requester=PERSON, **placed)[1]


def release(stand):
    """Release the oldest HOLD as an operator."""
    return stand.halt.release(stand.halt.holds_in_force[0].number, requester=stand.eva)


def expire(stand):
    """End the oldest HOLD as at its expiry."""
    stand.overrides.release(stand.halt.holds_in_force[0].number)


def test_release_is_not_reported_as_an_expiry(stand, tmp_path, monkeypatch):
    """Proves: a check of another thread during a release waits until the release is complete.

    Sensitivity: `the HOLD has expired`, in status and audit, where an operator had released it.
    """
    hold(stand)
    register, checks = stand.overrides.release, []

    def release_while_checked(number, **named):
        released = register(number, **named)
        checks.append(Thread(target=stand.halt.resume_if_expired))
        checks[0].start()
        checks[0].join(0.5)
        return released

    monkeypatch.setattr(stand.overrides, "release", release_while_checked)
    release(stand)
    checks[0].join()
    assert stand.halt.last_ended.how == "released by eva"
    entries = [entry.content for entry in read_entries(tmp_path / AUDIT_FILE)]
    assert [entry["event"] for entry in entries] == ["hold", "release"]
    assert "expired" not in str(entries)


ANA = "ana, not signed in (command, uid 1007)"
BO = "bo, not signed in (command, uid 1007)"


def test_hold_freezes_publishes_and_is_recorded(stand, tmp_path):
    hold(stand)
    assert stand.link.frozen == [NOW]
    assert stand.partners.statuses == [HELD]
    assert not stand.guarding.is_due(NOW + MINUTE)
    (entry,) = read_entries(tmp_path / AUDIT_FILE)
    content = dict(entry.content)
    assert content.pop("wall_time").endswith("Z")
    facts = {"author": ANA, "reason": "work", "hours": 2.0, "time": "2026-06-16T00:05:00Z"}
    sender = {"hold": 1, "channel": "command", "uid": 1007}
    assert content == {"event": "hold"} | facts | sender


def test_second_hold_stands_beside_the_first(stand, tmp_path):
    """Proves: a shorter HOLD does not end another one, and its author is informed."""
    hold(stand, reason="a smell at chiller 2", hours=None)
    message = hold(stand, author="bo", reason="a look at a job", hours=0.5)
    whole = f"HOLD by {ANA} and {BO}: {ANA}: a smell at chiller 2; {BO}: a look at a job"
    assert message == f"in force now: {whole}"
    assert stand.partners.statuses[-1] == HELD
    assert stand.halt.combined_hold.until is None
    assert [entry.content["author"] for entry in read_entries(tmp_path / AUDIT_FILE)] == [ANA, BO]


def test_each_hold_is_released_by_an_operator(stand, tmp_path):
    """Proves: a release names its HOLD, needs an operator, and records both persons.

    Sensitivity: anybody's `release`, under any name, ended the HOLDs of all persons.
    """
    hold(stand, hours=None)
    hold(stand, author="bo", hours=None)
    for token in ("", "guessed", "ana"):
        for channel, uid in (("page", None), ("command", 1007)):
            requester = Requester(channel=channel, uid=uid, token=token)
            with pytest.raises(ServiceError) as caught:
                stand.halt.release(1, requester=requester)
            assert caught.value.code is IssueCode.UNAUTHORISED
            with pytest.raises(ServiceError) as caught:
                stand.halt.replace_hold(1, requester=requester, hours=0.001)
            assert caught.value.code is IssueCode.UNAUTHORISED
    assert [one.number for one in stand.halt.holds_in_force] == [1, 2]
    stand.halt.release(1, requester=stand.eva)
    assert [one.author for one in stand.halt.holds_in_force] == [BO]
    assert stand.partners.statuses == [HELD, HELD]
    *_, entry = read_entries(tmp_path / AUDIT_FILE)
    facts = {name: entry.content[name] for name in ("event", "hold", "author", "of", "channel")}
    assert facts == {"event": "release", "hold": 1, "author": "eva", "of": ANA, "channel": "page"}
    assert (entry.content["uid"], entry.content["wall_time"][-1]) == (None, "Z")


def test_hold_is_taken_over_by_an_operator(stand, tmp_path):
    """Proves: a take-over shortens the named HOLD only, and records it before and after."""
    hold(stand, hours=None)
    stand.halt.replace_hold(1, requester=stand.eva, hours=1.0)
    (taken,) = stand.halt.holds_in_force
    assert (taken.author, taken.reason) == ("eva", "work")
    *_, entry = read_entries(tmp_path / AUDIT_FILE)
    assert (entry.content["event"], entry.content["author"]) == ("replace", "eva")
    assert entry.content["before"]["author"] == ANA
    assert (entry.content["before"]["until"], entry.content["hours"]) == (None, 1.0)


def test_operator_is_the_author_of_a_hold(stand):
    """Proves: a signed-in person is named without a doubt; a stated name is marked."""
    stand.halt.hold(requester=stand.eva, author="somebody else")
    stand.halt.hold(requester=PERSON, author="eva")
    stand.halt.hold(requester=Requester(channel="page"))
    authors = [one.author for one in stand.halt.holds_in_force]
    assert authors == ["eva", "eva, not signed in (command, uid 1007)", "not signed in (page)"]


def test_unreadable_operators_prevent_no_hold(stand, tmp_path):
    """Proves: a HOLD is placed whatever else fails; a release then needs a correct file."""
    (tmp_path / OPERATORS_FILE).write_text("[")
    hold(stand)
    assert stand.halt.combined_hold.author == ANA
    with pytest.raises(ServiceError, match="a table for each operator"):
        release(stand)
    assert stand.halt.combined_hold is not None


def test_hold_reports_a_broker_without_acknowledgement(tmp_path):
    """Proves: a silent broker is reported at once, before the keepalive notices it."""
    stand = Stand(tmp_path)
    stand.link.commands.wait_acknowledged = lambda _: False
    message = hold(stand, reason="a smell", hours=None)
    assert (
        "commands do not reach the plant now: the broker has acknowledged nothing for 0.5 s"
        in message
    )
    shadow = Stand(tmp_path / "shadow", is_shadow=True)
    shadow.link.commands.wait_acknowledged = lambda _: False
    assert hold(shadow, reason="a smell", hours=None) == ""


def test_hold_reports_a_missing_connection(stand):
    stand.link.error = "no connection to the broker"
    message = hold(stand, hours=None)
    assert "commands do not reach the plant now: no connection to the broker" in message


def test_hold_on_a_full_disk_warns_of_loss_at_restart(stand, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("optimizer.service.hold_register.write_atomic", full)
    message = hold(stand, hours=None)
    assert message.startswith("the HOLD in force is not on disk: [Errno 28] No space left")
    assert message.endswith("a restart before that is fixed loses it")
    assert stand.link.frozen == [NOW]


def test_partners_see_no_name_and_no_reason_of_a_hold(stand):
    """Proves: partners receive codes; author and reason stay inside the site.

    Sensitivity: "HOLD by ana: ..." and "released by ana" were published.
    """
    hold(stand, reason="a colleague is ill", hours=None)
    release(stand)
    assert stand.partners.statuses == [HELD, ("degraded", PublicReason.HOLD_ENDED)]


def test_full_disk_delays_only_the_record(stand, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("optimizer.service.audit.write_all", full)
        hold(stand)
        assert stand.link.frozen == [NOW]
        assert stand.partners.statuses[-1][0] == "hold"
        assert stand.partners.audit.trouble
    stand.partners.audit.write_waiting_entries()
    assert [entry.content["event"] for entry in read_entries(tmp_path / AUDIT_FILE)] == ["hold"]


def test_partners_are_informed_if_the_plant_cannot_be(stand):
    stand.link.failure = JournalError("orders", "orders.json", "make room")
    hold(stand)
    assert stand.partners.statuses == [HELD]
    assert stand.halt.description == f"HOLD by {ANA}: work"


def test_expired_hold_is_recorded_like_a_release(stand, tmp_path):
    hold(stand)
    expire(stand)
    stand.halt.resume_if_expired()
    stand.halt.resume_if_expired()
    assert [state for state, _ in stand.partners.statuses] == ["hold", "degraded"]
    last = [entry.content for entry in read_entries(tmp_path / AUDIT_FILE)][-1]
    assert (last["event"], last["reason"]) == ("release", "the HOLD has expired")


def pass_time(monkeypatch, hours):
    """Let time pass."""
    for name in ("time", "monotonic"):
        moment = getattr(time, name)() + hours * 3600.0
        monkeypatch.setattr(time, name, lambda moment=moment: moment)


def recorded_events(tmp_path):
    """Return event, author and reason of each entry of the record."""
    rows = [entry.content for entry in read_entries(tmp_path / AUDIT_FILE)]
    return [(row["event"], row["author"], row["reason"]) for row in rows]


def test_end_of_each_of_several_holds_is_recorded(stand, tmp_path, monkeypatch):
    hold(stand)
    hold(stand, author="bo", reason="a look", hours=1.0)
    pass_time(monkeypatch, 1.5)
    stand.halt.resume_if_expired()
    assert stand.halt.description == f"HOLD by {ANA}: work"
    assert [state for state, _ in stand.partners.statuses] == ["hold", "hold"]
    pass_time(monkeypatch, 1.0)
    stand.halt.resume_if_expired()
    assert [state for state, _ in stand.partners.statuses] == ["hold", "hold", "degraded"]
    assert recorded_events(tmp_path)[2:] == [
        ("release", "", f"the HOLD of {BO} has expired"),
        ("release", "", "the HOLD has expired"),
    ]


def test_hold_that_expired_before_the_start_is_recorded(tmp_path, monkeypatch):
    HoldRegister(tmp_path / "hold.json").set_hold(
        author="dora", reason="r", hours=1.0, is_self_ending=True, now=time.time()
    )
    pass_time(monkeypatch, 2.0)
    stand = Stand(tmp_path)
    stand.halt.resume_if_expired()
    stand.halt.resume_if_expired()
    assert recorded_events(tmp_path) == [("release", "", "the HOLD of dora has expired")]
    assert stand.partners.statuses == []


def test_hold_expired_by_a_wrong_clock_is_reinstated(tmp_path, monkeypatch):
    """Proves: requests made meanwhile are withdrawn at once, and partners are informed."""
    HoldRegister(tmp_path / "hold.json").set_hold(
        author="dora", reason="r", hours=1.0, is_self_ending=True, now=time.time()
    )
    ahead = time.time() + 86_400.0
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: ahead)
        stand = Stand(tmp_path)
        stand.halt.resume_if_expired()
        assert stand.halt.combined_hold is None
    for _ in range(2):
        stand.halt.resume_if_expired()
    assert stand.link.frozen == [NOW]
    assert stand.partners.statuses == [HELD]
    assert recorded_events(tmp_path) == [
        ("release", "", "the HOLD of dora has expired"),
        ("hold", "dora", "r"),
    ]


def test_expired_hold_is_logged(stand, monkeypatch):
    """Proves: the log reports the end of the HOLD once, at once, with its author."""
    hold(stand)
    pass_time(monkeypatch, 2.1)
    with structlog.testing.capture_logs() as logged:
        stand.halt.resume_if_expired()
        stand.halt.resume_if_expired()
    assert [(e["event"], e["author"], e["reason"]) for e in logged] == [
        ("HOLD expired", ANA, "work")
    ]


@pytest.mark.parametrize(
    ("way", "how"), [("release", "released by eva"), ("expiry", "the HOLD has expired")]
)
def test_ended_hold_is_shown_until_the_next_decision(stand, way, how):
    hold(stand)
    assert stand.halt.last_ended is None
    if way == "release":
        release(stand)
    else:
        expire(stand)
        stand.halt.resume_if_expired()
    facts = {"author": ANA, "reason": "work", "time": "2026-06-16T00:05:00Z"}
    assert stand.halt.last_ended == EndedHold(**facts, how=how)
    stand.halt.clear_ended()
    assert stand.halt.last_ended is None


def test_new_hold_is_not_shown_as_ended(stand):
    hold(stand)
    release(stand)
    hold(stand)
    assert stand.halt.last_ended is None


class BusyLock:
    """A lock held by a decision; `meanwhile` is called while somebody waits for it."""

    def __init__(self, meanwhile):
        self._lock, self._meanwhile = RLock(), [meanwhile]

    def __enter__(self):
        if self._meanwhile:
            self._meanwhile.pop()()
        return self._lock.__enter__()

    def __exit__(self, *error):
        return self._lock.__exit__(*error)


@pytest.mark.parametrize("way", ["release", "expiry"])
def test_hold_placed_while_another_ends_stays_in_force(stand, tmp_path, way):
    """Proves: a HOLD placed while the end of another waits for a decision stays in force.

    Sensitivity: partners received `degraded` during the second HOLD, and its own end was not
    published.
    """
    hold(stand)
    ben = {"author": "ben", "reason": "still hot", "hours": None}
    stand.halt._lock = BusyLock(lambda: hold(stand, **ben))
    if way == "release":
        release(stand)
    else:
        expire(stand)
        stand.halt.resume_if_expired()
    assert stand.partners.statuses[-1] == HELD
    assert stand.halt.last_ended is None
    events = [entry.content["event"] for entry in read_entries(tmp_path / AUDIT_FILE)]
    assert events == ["hold", "hold", "release"]
    expire(stand)
    stand.halt.resume_if_expired()
    assert stand.partners.statuses[-1][0] == "degraded"


def test_shadow_mode_publishes_nothing(tmp_path):
    stand = Stand(tmp_path, is_shadow=True)
    hold(stand)
    release(stand)
    assert stand.link.frozen == []
    assert stand.partners.statuses == []
    assert [e.content["event"] for e in read_entries(tmp_path / AUDIT_FILE)] == ["hold", "release"]


def test_a_release_without_a_hold_does_nothing(stand, tmp_path):
    """Proves: no end of a HOLD is published where there was none."""
    with pytest.raises(ServiceError) as caught:
        stand.halt.release(1, requester=stand.eva)
    assert caught.value.code is IssueCode.UNKNOWN_NAME
    assert stand.partners.statuses == []
    assert [one.name for one in tmp_path.iterdir()] == [OPERATORS_FILE]  # no record of a release
    hold(stand)
    release(stand)
    assert stand.partners.statuses[-1][0] == "degraded"


def test_further_holds_of_unknown_requesters_are_recorded_once(stand, tmp_path, monkeypatch):
    """Proves: placing HOLDs without limit does not fill the record."""
    monkeypatch.setattr("optimizer.service.hold_register.MAX_LISTED_UNSIGNED_HOLDS", 2)
    for _ in range(20):
        hold(stand, hours=None)
    assert [one.combined_hold_count for one in stand.halt.holds_in_force] == [0, 0, 18]
    assert len(recorded_events(tmp_path)) == 3


def test_hold_from_the_file_stops_optimising(stand, tmp_path):
    """Proves: a HOLD that a command wrote beside the service withdraws requests and is recorded.

    Sensitivity: the service did not read the file again.
    """
    HoldRegister(tmp_path / "hold.json").set_hold(author="bo", reason="leak", now=time.time())
    stand.halt.resume_if_expired()
    assert stand.link.frozen
    assert [event[:2] for event in recorded_events(tmp_path)] == [("hold", "bo")]
    stand.halt.resume_if_expired()
    assert len(recorded_events(tmp_path)) == 1
