"""Announced work in a service: through the broker into plans, remembered and reported."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.service.config import ServiceConfig
from optimizer.service.decision_inputs import SchedulerJobs
from optimizer.service.plant_link import PlantLink
from telemetry.live.state import LiveState
from telemetry.messages import encode
from telemetry.messages.samples import (
    JobAnnouncements,
    JobColumns,
    JobHistory,
    QueueSnapshot,
    SampleOutcome,
)
from telemetry.mqtt.client import Client
from telemetry.runtime import ClockMode
from tests.support import moments, small_days
from tests.support.environments import environment
from tests.support.waiting import DEADLINE, until
from twin.time_axes import HOUR, QUARTER_HOUR
from twin.workload.announced_work import NOTICE_LOCATION
from twin.workload.queue import open_queue

SITE = moments.site()
KINDS = tuple(SITE.work)
NOW = moments.start()
LEAD = 20 * HOUR


def announcements(jobs, *, time=NOW, announced=None, **changes):
    """Return a list of announced jobs, each a day before its arrival by default."""
    count = len(jobs)
    columns = JobColumns.of(jobs, KINDS)
    made = {
        "number": columns.number,
        "kind": columns.kind,
        "announced": columns.arrival - LEAD if announced is None else announced,
        "start": columns.arrival,
        "withdrawn": np.full(count, np.datetime64("NaT", "us")),
        "length": columns.length,
        "racks": columns.racks,
        "probability": np.ones(count),
    }
    return JobAnnouncements(site="small", time=time, **made | changes)


def history():
    past = small_days.setting().workload.past(NOW)
    return past, JobHistory(site="small", time=NOW, jobs=JobColumns.of(past, KINDS))


def coming():
    """Return the jobs that will arrive within the lead."""
    return small_days.setting().workload.arrival_history.arriving_between(NOW, NOW + LEAD)


def queue_report(now=NOW):
    queue = open_queue(small_days.queue().pool, small_days.setting().workload.jobs, now)
    return QueueSnapshot(
        site="small",
        time=now,
        jobs=JobColumns.of(queue.jobs, KINDS),
        completed_hours=queue.completed_hours,
        run_hours=queue.run_hours,
        running=queue.is_running,
    )


@pytest.fixture
def window():
    window = LiveState(SITE)
    window.add(queue_report())
    window.add(history()[1])
    return window


def test_announced_jobs_reach_the_queue_with_what_past_ones_earned(window):
    """Proves: all arrivals of two weeks came as announced, so the coming ones are trusted."""
    jobs = SchedulerJobs(SITE, window)
    assert jobs.queue(NOW).announced_work is None
    past, _ = history()
    window.add(announcements(past.followed_by(coming())))
    work = jobs.queue(NOW).announced_work
    assert len(work.start) == len(coming())
    assert work.confidence.min() > 0.9
    assert jobs.rejected_orders() == {}


def test_announcements_that_are_left_out_stay_remembered(window):
    """Proves: a scheduler that lists only what lies ahead cannot hide what never came.

    Sensitivity: judged by the newest list alone, its confidence would stay that of the prior.
    """
    jobs, (past, _) = SchedulerJobs(SITE, window), history()
    never = replace(past, number=past.number + 10_000_000)
    window.add(announcements(never, announced=never.arrival - LEAD))
    jobs.queue(NOW)
    ahead = coming()
    window.add(announcements(ahead, time=NOW + QUARTER_HOUR))
    work = jobs.queue(NOW + QUARTER_HOUR).announced_work
    assert (work.start > 0.0).sum() > 0
    assert work.confidence.max() < 0.1
    assert "[inconsistent]" in jobs.rejected_orders()[NOTICE_LOCATION]


def test_refused_lists_are_counted_and_reported(window):
    """Proves: a list with another kind, or an old one, is refused whole; the last one counts."""
    jobs = SchedulerJobs(SITE, window)
    good = announcements(coming())
    window.add(good)
    unknown = replace(good, kind=("laundry",) * len(good.kind), time=NOW + QUARTER_HOUR)
    window.add(unknown)
    assert "lacks" in jobs.rejected_orders()[NOTICE_LOCATION]
    window.add(replace(good, time=NOW - HOUR))
    counts = window.counters
    assert counts[SampleOutcome.UNKNOWN_WORK] == counts[SampleOutcome.OLD_JOBS] == 1
    assert len(jobs.queue(NOW).announced_work.start) == len(coming())
    assert window.scheduler.reject_reason == ""


def settings(url):
    return ServiceConfig(
        broker=url, series_files=small_days.files(), clock_mode=ClockMode.SIMULATED
    )


def linked(folder, url):
    parts = environment(settings(url))
    return PlantLink(SITE, settings(url), folder, environment=parts)


@pytest.mark.slow
def test_announcements_pass_the_broker_and_change_the_plan(embedded, tmp_path):
    """Proves: announced over MQTT, a burst is planned for, also after a restart without a broker.

    Its jobs fill all racks for 6 h from 6 h after now on, beside what usually arrives.
    """
    past, known = history()
    burst = past.select(slice(0, 6))
    racks = SITE.rack_count / 6.0
    burst = replace(
        burst,
        number=np.arange(50_000_000, 50_000_006),
        arrival=np.full(6, NOW + 6 * HOUR),
        length=np.full(6, 6.0),
        racks=np.full(6, racks),
    )
    scheduler = Client(embedded.url, client_id="scheduler", clean_session=True)
    with linked(tmp_path, embedded.url) as link:
        scheduler.connect()
        for sample in (known, queue_report(), announcements(past.followed_by(burst))):
            scheduler.publish(*encode(sample), qos=1, retain=True).wait(DEADLINE)
        state = link.window.scheduler
        until(lambda: state.announcements and state.queue and state.history)
        announced = link.jobs.queue(NOW)
        assert link.jobs.rejected_orders() == {}
    scheduler.stop(0.0)
    with linked(tmp_path, "mqtt://127.0.0.1:1") as again:
        restored = again.jobs.queue(NOW)
    assert len(restored.announced_work.start) == 6
    assert restored.announced_work.confidence.tolist() == pytest.approx(
        announced.announced_work.confidence.tolist()
    )
    plans = [
        moments.pilot().decide(replace(moments.facts(), queue=queue)).choice.schedule
        for queue in (replace(announced, announced_work=None), announced)
    ]
    hours = (plans[0]["time"].to_numpy() - NOW) / HOUR
    during = (hours >= 6.0) & (hours < 18.0)
    without, ahead = (
        float((plan["work_power"].sum("cohort") * plan["duration"])[during].sum()) for plan in plans
    )
    assert ahead > without
