"""Announced work in scenarios of a decision: with its confidence, never fewer, and with notices."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.stochastic.scenarios import generate_scenarios
from tests.support import small_days
from twin.errors import IssueCode
from twin.forecast.forecast_errors import ForecastErrors
from twin.workload.announced_work import assess_announced_work
from twin.workload.jobs import Announcements

HOUR = np.timedelta64(3_600_000_000, "us")
RACK_HOURS = 10 * 2.0 * 5.0


@pytest.fixture(scope="module")
def drawn():
    """Return a function that draws three scenarios, some jobs announced or none."""
    here, problem = small_days.setting(), small_days.problem(24)
    now, past = here.inputs.start, here.workload.past(here.inputs.start)
    errors = ForecastErrors(here.site, here.inputs.series)

    def draw(*, announced_h=None, racks=2.0):
        queue = small_days.queue()
        if announced_h is not None:
            made = Announcements(
                number=np.arange(10) + 90_000_000,
                kind_index=np.zeros(10, dtype=np.int64),
                announced=np.full(10, now + round(announced_h * 60) * (HOUR // 60)),
                start=np.full(10, now + 3 * HOUR),
                withdrawn=np.full(10, np.datetime64("NaT", "us")),
                length=np.full(10, 5.0),
                racks=np.full(10, racks),
                probability=np.ones(10),
            )
            pool = queue.pool
            work = assess_announced_work(made, past, now, kinds=pool.kinds, racks=pool.racks)
            queue = replace(queue, announced_work=work)
        return generate_scenarios(
            problem, here.inputs.series, queue=queue, past=past, errors=errors
        )

    return draw


def works(found):
    """Return the work that can arrive and be done in each scenario. [MWh]"""
    return np.array(
        [float(one.problem.outlook["work_most"].sum("cohort")[-1]) for one in found.scenarios]
    )


def test_unproven_announcements_widen_the_scenarios(drawn):
    """Proves: the mean grows by half the announced work, the burst by all, the calm by nothing."""
    plain, ahead = drawn(), drawn(announced_h=-1.0)
    probability = np.array([one.probability for one in plain.scenarios])
    more = works(ahead) - works(plain)
    whole = RACK_HOURS * small_days.queue().pool.rack_power
    assert probability @ more == pytest.approx(0.5 * whole)
    assert more[-1] == pytest.approx(whole)
    assert more[0] == pytest.approx(0.0, abs=1e-9)
    assert ahead.notices == plain.notices


def test_announcements_that_do_not_count_leave_scenarios_and_are_noted(drawn):
    """Proves: work wider than the site changes no scenario, and the plan's summary names it."""
    plain, wide, later = drawn(), drawn(announced_h=-1.0, racks=1000.0), drawn(announced_h=1.0)
    assert (works(wide) == works(plain)).all()
    (notice,) = set(wide.notices) - set(plain.notices)
    assert notice.endswith(f"[{IssueCode.OUT_OF_RANGE}]")
    assert (works(later) == works(plain)).all()  # not known yet
    assert later.notices == plain.notices
