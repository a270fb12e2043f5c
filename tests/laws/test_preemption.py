"""Pauses of work: loss since the last checkpoint, and which work pauses first.

Four racks of 1 MW with four hours to run each, so that of those that run one ends in an hour. Work
left undone at the end costs 40 EUR/MWh, and a pause loses half an hour of a rack: 20 EUR.
"""

import pytest

from tests.support.hand import kind, outlook, site, solved
from twin import variables
from twin.errors import ProblemError

TRAIN = kind("train", pause_loss=0.5)
BATCH = kind("batch")


def ahead(prices, *names, running=4.0, rest=4.0):
    """Return an outlook in which four racks of each kind could work all the time."""
    hours = range(1, len(prices) + 1)
    jobs = [(name, [0.0 for _ in hours], [4.0 * t for t in hours], 4.0) for name in names]
    state = {"work_racks_running": running, "work_rest": rest}
    state = {name: ("cohort", [value] * len(names)) for name, value in state.items()}
    return variables.tag_dataset(outlook(prices, jobs=jobs, terminal=40.0).assign(state))


def plan(prices, *names, **state):
    return solved(site(work=[TRAIN, BATCH]), ahead(prices, *names, **state))


def racks(found):
    """Return the racks that run, by cohort."""
    return found.values["work.racks"].sum(axis=2).T


def test_one_interval_plan_continues_running_work():
    """Proves: a plan of one hour is made, and four racks that ran go on: 4 MWh at 10 EUR."""
    found = plan([10.0], "train")
    assert found.values["work.racks"].sum() == pytest.approx(4.0)
    assert found.objective == pytest.approx(40.0)


def test_small_saving_is_not_worth_a_pause():
    """Proves: an hour at 50 saves 10 a rack and a pause loses 20: only the rack whose job has ended
    rests. 40 + 150 + 40 and 40 left undone. Sensitivity: 240 if pauses lost nothing.
    """
    found = plan([10.0, 50.0, 10.0], "train")
    assert racks(found)[0] == pytest.approx([4.0, 3.0, 4.0])
    assert found.objective == pytest.approx(270.0)


def test_large_saving_is_worth_a_pause():
    """Proves: an hour at 100 saves 60 a rack: all rest, three are paused and lose 20 each. 40 + 40,
    160 left undone, 60 lost. Sensitivity: 240 if pauses lost nothing.
    """
    found = plan([10.0, 100.0, 10.0], "train")
    assert racks(found)[0] == pytest.approx([4.0, 0.0, 4.0])
    assert found.objective == pytest.approx(300.0)


def test_work_without_pause_loss_pauses_first():
    """Proves: of two kinds that could rest in the hour at 50 batch does, training goes on. 80 + 150
    + 80 and 200 left undone. Sensitivity: both rest where nothing is lost, at 480.
    """
    found = plan([10.0, 50.0, 10.0], "train", "batch")
    assert racks(found)[:, 1] == pytest.approx([3.0, 0.0])
    assert found.objective == pytest.approx(510.0)


@pytest.mark.parametrize(("running", "cost"), [(4.0, 240.0), (0.0, 200.0)])
def test_pause_in_the_first_interval_has_its_loss(running, cost):
    """Proves: in a first hour at 50 running racks go on (200 + 40), waiting ones wait (40, and 160
    undone). Sensitivity: 200 for both if the racks of before did not count.
    """
    assert plan([50.0, 10.0], "train", running=running).objective == pytest.approx(cost)


def test_negative_prices_cause_no_pauses():
    """Proves: at -100 all racks run and nothing is thrown away to be done again: -800 for 8 MWh.

    Sensitivity: below -800 if a pause gave back work that could be done at once.
    """
    found = plan([-100.0, -100.0], "train")
    assert found.objective == pytest.approx(-800.0)
    assert found.values["work.paused_racks"] == pytest.approx(0.0)


def test_both_variables_are_needed():
    """Proves: an outlook with one of the two variables is refused with the name of the other."""
    half = ahead([10.0, 10.0], "train").drop_vars("work_rest")
    with pytest.raises(ProblemError, match="work_rest"):
        solved(site(work=[TRAIN]), half)


def test_negative_running_racks_are_refused():
    """Proves: running racks below nothing are refused."""
    with pytest.raises(ProblemError, match=r"work_racks_running.*-1"):
        plan([10.0, 10.0], "train", running=-1.0)
