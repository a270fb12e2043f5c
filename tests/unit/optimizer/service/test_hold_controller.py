"""Execution of a HOLD: at once, and whatever else fails."""

import errno
import time
from threading import RLock

import numpy as np
import pytest
import structlog.testing

from optimizer.realtime.intra_interval import MeteringIntervalControl
from optimizer.realtime.orders import DispatchOrders
from optimizer.service.audit import AUDIT_FILE, AuditLog, read_audit
from optimizer.service.hold import HoldRegister
from optimizer.service.hold_controller import HoldController
from optimizer.service.intra_interval import IntraIntervalController
from telemetry.messages.feed_documents import PublicReason
from tests.support import moments
from twin.errors import JournalError
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
        self.is_accepted = lambda timeout: timeout > 0.0

    def freeze(self, now):
        if self.failure:
            raise self.failure
        self.frozen.append(now)


class Partners:
    """Partners that note each published status, with a real audit record."""

    def __init__(self, path):
        self.statuses, self.audit = [], AuditLog(path)
        self.record_event = self.audit.add

    def publish_status(self, state, *, reason, now):
        self.statuses.append((state, reason))


class Stand:
    def __init__(self, folder, *, is_shadow=False):
        self.link, self.partners, self.guarding = (
            Link(),
            Partners(folder / AUDIT_FILE),
            IntraIntervalController(),
        )
        self.overrides = HoldRegister(folder / "hold.json", passed=lambda: time.monotonic())
        planned = DispatchOrders(jobs={}, battery_charge={"battery_1": 0.6})
        guard = MeteringIntervalControl(site=moments.site(), planned=planned, peak=2.0)
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


def hold(stand):
    stand.halt.hold(author="ana", reason="work", hours=2.0)


def test_hold_freezes_publishes_and_is_recorded(stand, tmp_path):
    hold(stand)
    assert stand.link.frozen == [NOW]
    assert stand.partners.statuses == [HELD]
    assert not stand.guarding.is_due(NOW + MINUTE)
    (entry,) = read_audit(tmp_path / AUDIT_FILE)
    facts = {"author": "ana", "reason": "work", "hours": 2.0, "time": "2026-06-16T00:05:00Z"}
    assert entry.content == {"event": "hold"} | facts


def test_second_hold_stands_beside_the_first(stand, tmp_path):
    """Proves: a shorter HOLD does not end another one, and its author is informed."""
    stand.halt.hold(author="ana", reason="men at chiller 2", hours=None)
    message = stand.halt.hold(author="bo", reason="a look at a job", hours=0.5)
    whole = "HOLD by ana and bo: ana: men at chiller 2; bo: a look at a job"
    assert message == f"in force now: {whole}"
    assert stand.partners.statuses[-1] == HELD
    assert stand.halt.in_force.until is None
    assert [entry.content["author"] for entry in read_audit(tmp_path / AUDIT_FILE)] == ["ana", "bo"]
    assert stand.halt.release(author="ana")
    assert stand.halt.in_force is None


def test_hold_reports_a_broker_without_acknowledgement(tmp_path):
    """Proves: a silent broker is reported at once, before the keepalive notices it."""
    stand = Stand(tmp_path)
    stand.link.is_accepted = lambda _: False
    message = stand.halt.hold(author="ana", reason="a smell", hours=None)
    assert (
        "commands do not reach the plant now: the broker has acknowledged nothing for 0.5 s"
        in message
    )
    shadow = Stand(tmp_path / "shadow", is_shadow=True)
    shadow.link.is_accepted = lambda _: False
    assert shadow.halt.hold(author="ana", reason="a smell", hours=None) == ""


def test_hold_reports_a_missing_connection(stand):
    stand.link.error = "no connection to the broker"
    message = stand.halt.hold(author="ana", reason="work", hours=None)
    assert "commands do not reach the plant now: no connection to the broker" in message


def test_hold_on_a_full_disk_warns_of_loss_at_restart(stand, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("optimizer.service.hold.write_atomic", full)
    message = stand.halt.hold(author="ana", reason="work", hours=None)
    assert message.startswith("the HOLD in force is not on disk: [Errno 28] No space left")
    assert message.endswith("a restart before that is fixed loses it")
    assert stand.link.frozen == [NOW]


def test_partners_see_no_name_and_no_reason_of_a_hold(stand):
    """Proves: partners receive codes; author and reason stay inside the site.

    Sensitivity: "HOLD by ana: ..." and "released by ana" were published.
    """
    stand.halt.hold(author="ana", reason="a colleague is ill", hours=None)
    stand.halt.release(author="ana")
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
    stand.partners.audit.retry()
    assert [entry.content["event"] for entry in read_audit(tmp_path / AUDIT_FILE)] == ["hold"]


def test_partners_are_informed_if_the_plant_cannot_be(stand):
    stand.link.failure = JournalError("orders", "orders.json", "make room")
    hold(stand)
    assert stand.partners.statuses == [HELD]
    assert stand.halt.description == "HOLD by ana: work"


def test_expired_hold_is_recorded_like_a_release(stand, tmp_path):
    hold(stand)
    stand.overrides.release()  # as at its expiry
    stand.halt.update()
    stand.halt.update()
    assert [state for state, _ in stand.partners.statuses] == ["hold", "degraded"]
    last = [entry.content for entry in read_audit(tmp_path / AUDIT_FILE)][-1]
    assert (last["event"], last["reason"]) == ("release", "the HOLD has expired")


def pass_time(monkeypatch, hours):
    """Let time pass."""
    for name in ("time", "monotonic"):
        moment = getattr(time, name)() + hours * 3600.0
        monkeypatch.setattr(time, name, lambda moment=moment: moment)


def recorded_events(tmp_path):
    """Return event, author and reason of each entry of the record."""
    rows = [entry.content for entry in read_audit(tmp_path / AUDIT_FILE)]
    return [(row["event"], row["author"], row["reason"]) for row in rows]


def test_end_of_each_of_several_holds_is_recorded(stand, tmp_path, monkeypatch):
    hold(stand)
    stand.halt.hold(author="bo", reason="a look", hours=1.0)
    pass_time(monkeypatch, 1.5)
    stand.halt.update()
    assert stand.halt.description == "HOLD by ana: work"
    assert [state for state, _ in stand.partners.statuses] == ["hold", "hold"]
    pass_time(monkeypatch, 1.0)
    stand.halt.update()
    assert [state for state, _ in stand.partners.statuses] == ["hold", "hold", "degraded"]
    assert recorded_events(tmp_path)[2:] == [
        ("release", "", "the HOLD of bo has expired"),
        ("release", "", "the HOLD has expired"),
    ]


def test_hold_that_expired_before_the_start_is_recorded(tmp_path, monkeypatch):
    HoldRegister(tmp_path / "hold.json").set_hold(
        author="dora", reason="r", hours=1.0, now=time.time()
    )
    pass_time(monkeypatch, 2.0)
    stand = Stand(tmp_path)
    stand.halt.update()
    stand.halt.update()
    assert recorded_events(tmp_path) == [("release", "", "the HOLD of dora has expired")]
    assert stand.partners.statuses == []


def test_hold_expired_by_a_wrong_clock_is_reinstated(tmp_path, monkeypatch):
    """Proves: requests made meanwhile are withdrawn at once, and partners are informed."""
    HoldRegister(tmp_path / "hold.json").set_hold(
        author="dora", reason="r", hours=1.0, now=time.time()
    )
    ahead = time.time() + 86_400.0
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: ahead)
        stand = Stand(tmp_path)
        stand.halt.update()
        assert stand.halt.in_force is None
    for _ in range(2):
        stand.halt.update()
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
        stand.halt.update()
        stand.halt.update()
    assert [(e["event"], e["author"], e["reason"]) for e in logged] == [
        ("HOLD expired", "ana", "work")
    ]


@pytest.mark.parametrize(
    ("way", "how"), [("release", "released by eva"), ("expiry", "the HOLD has expired")]
)
def test_ended_hold_is_shown_until_the_next_decision(stand, way, how):
    hold(stand)
    assert stand.halt.last_ended is None
    if way == "release":
        stand.halt.release(author="eva")
    else:
        stand.overrides.release()
        stand.halt.update()
    facts = {"author": "ana", "reason": "work", "time": "2026-06-16T00:05:00Z"}
    assert stand.halt.last_ended == facts | {"how": how}
    stand.halt.clear_ended()
    assert stand.halt.last_ended is None


def test_new_hold_is_not_shown_as_ended(stand):
    hold(stand)
    stand.halt.release(author="eva")
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
    stand.halt._lock = BusyLock(lambda: stand.halt.hold(**ben))
    if way == "release":
        stand.halt.release(author="eva")
    else:
        stand.overrides.release()  # as at its expiry
        stand.halt.update()
    assert stand.partners.statuses[-1] == HELD
    assert stand.halt.last_ended is None
    events = [entry.content["event"] for entry in read_audit(tmp_path / AUDIT_FILE)]
    assert events == ["hold", "hold", "release"]
    stand.overrides.release()
    stand.halt.update()
    assert stand.partners.statuses[-1][0] == "degraded"


def test_shadow_mode_publishes_nothing(tmp_path):
    stand = Stand(tmp_path, is_shadow=True)
    hold(stand)
    stand.halt.release(author="ana")
    assert stand.link.frozen == []
    assert stand.partners.statuses == []
    assert [e.content["event"] for e in read_audit(tmp_path / AUDIT_FILE)] == ["hold", "release"]


def test_a_release_without_a_hold_does_nothing(stand, tmp_path):
    """Proves: no end of a HOLD is published where there was none."""
    assert not stand.halt.release(author="ana")
    assert stand.partners.statuses == []
    assert list(tmp_path.iterdir()) == []  # no record and no file of the HOLD
    hold(stand)
    assert stand.halt.release(author="ana")
    assert stand.partners.statuses[-1][0] == "degraded"
