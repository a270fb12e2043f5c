"""Movable work: deadlines, caps, racks, lateness and undone work."""

import pytest

from tests.support.hand import BENT, kind, outlook, site, solved

CAPPED = kind(throughput=BENT, tolerance=0.2)
"""May run at half power, where it does four fifths of the work."""


def test_deadline_beats_the_price():
    """Proves: 3 MWh due after the dear hour are done there. Sensitivity: 30 without deadlines."""
    jobs = [("batch", [3.0, 3.0], [3.0, 3.0], 10.0)]
    assert solved(site(), outlook([50.0, 10.0], jobs=jobs)).objective == pytest.approx(150.0)


def test_work_cannot_be_done_before_it_arrives():
    """Proves: 3 MWh that come after an hour at 10 are done at 50. Sensitivity: 30."""
    jobs = [("batch", [0.0, 3.0], [0.0, 3.0], 10.0)]
    assert solved(site(), outlook([10.0, 50.0], jobs=jobs)).objective == pytest.approx(150.0)


def test_caps_are_chosen_by_price():
    """Proves: 8 MWh due in an hour on 10 racks: ten at half power (5 MWh) cost less than eight
    at full (8 MWh). Sensitivity: 800.
    """
    jobs = [("batch", [8.0], [8.0], 10.0)]
    plan = solved(site(work=[CAPPED]), outlook([100.0], jobs=jobs))
    assert plan.objective == pytest.approx(500.0)
    assert plan.values["work.racks"][0, 0] == pytest.approx([10.0, 0.0, 0.0])


def test_rack_is_not_capped_beyond_its_tolerance():
    """Proves: without tolerance the same work costs 8 MWh. Sensitivity: 500."""
    jobs = [("batch", [8.0], [8.0], 10.0)]
    plan = solved(site(work=[kind(throughput=BENT)]), outlook([100.0], jobs=jobs))
    assert plan.objective == pytest.approx(800.0)


def test_racks_draw_no_power_without_work():
    """Proves: at -100, with 4 MWh of work to do, 4 racks draw 4 MW and no cap is lifted for
    nothing. Sensitivity: -1000 if racks could draw without working.
    """
    jobs = [("batch", [0.0], [4.0], 10.0)]
    plan = solved(site(work=[CAPPED]), outlook([-100.0], jobs=jobs))
    assert plan.objective == pytest.approx(-400.0)


def test_lateness_is_priced():
    """Proves: of 12 MWh due in an hour on 10 racks, 2 come an hour late, at 100 EUR/MWh h.

    12 MWh at 10: 120, and 200. Sensitivity: infeasible if deadlines were hard.
    """
    jobs = [("batch", [12.0, 12.0], [12.0, 12.0], 20.0)]
    plan = solved(site(), outlook([10.0, 10.0], jobs=jobs))
    assert plan.objective == pytest.approx(320.0)
    assert plan.accounts["lateness"] == pytest.approx([200.0, 0.0])


@pytest.mark.parametrize(("waiting", "cost"), [(1.0, 33.0), (3.0, 36.0)])
def test_work_waits_only_for_a_lower_price(waiting, cost):
    """Proves: 3 MWh wait an hour for 10 instead of 12 if waiting costs 1 EUR/MWh h: 30 and 3; at
    3 they are done at once. Sensitivity: 30 without a cost of waiting.
    """
    jobs = [("batch", [0.0, 3.0], [3.0, 3.0], 10.0)]
    plan = solved(site(), outlook([12.0, 10.0], jobs=jobs), waiting=waiting)
    assert plan.objective == pytest.approx(cost)
    work = plan.accounts["electricity"].sum()
    assert plan.accounts["waiting"].sum() == pytest.approx(cost - work)


def test_jobs_use_at_most_their_racks():
    """Proves: 6 MWh on 3 racks need both hours: 3 x 10 + 3 x 50. Sensitivity: 60."""
    jobs = [("batch", [0.0, 6.0], [6.0, 6.0], 3.0)]
    assert solved(site(), outlook([10.0, 50.0], jobs=jobs)).objective == pytest.approx(180.0)


def test_service_has_precedence_on_racks():
    """Proves: beside 8 racks of service, 2 racks do 2 of 4 MWh in the cheap hour.

    Service 80 + 400, work 20 + 100. Sensitivity: 520 if racks were shared.
    """
    jobs = [("batch", [0.0, 4.0], [4.0, 4.0], 10.0)]
    plan = solved(site(), outlook([10.0, 50.0], service=8.0, jobs=jobs))
    assert plan.objective == pytest.approx(600.0)


def test_service_is_planned_without_other_work():
    """Proves: 2 MW of inference at 10 and 20 cost 60. Sensitivity: it ended in a traceback."""
    ahead = outlook([10.0, 20.0], service=2.0).isel(cohort=slice(0, 0))
    assert solved(site(), ahead).objective == pytest.approx(60.0)


def test_undone_work_has_the_terminal_value():
    """Proves: at a terminal price of 30, work is done at 20 and left at 40.

    Left: 4 MWh at 30. Done: 4 MWh at 20. Sensitivity: 0 in both cases.
    """
    jobs = [("batch", [0.0], [4.0], 10.0)]
    done, left = (
        solved(site(), outlook([price], jobs=jobs, terminal=30.0)) for price in (20.0, 40.0)
    )
    assert done.objective == pytest.approx(80.0)
    assert left.objective == pytest.approx(120.0)


def test_urgent_kind_gets_racks_first():
    """Proves: 10 racks do 6 MWh of the urgent kind and 4 of the other at 10, the rest at 20."""
    jobs = [("batch", [6.0, 6.0], [6.0, 6.0], 10.0), ("long", [0.0, 8.0], [8.0, 8.0], 10.0)]
    plan = solved(site(work=[kind(), kind("long")]), outlook([10.0, 20.0], jobs=jobs))
    assert plan.objective == pytest.approx(10.0 * 10 + 4.0 * 20)
