"""The connection: prices, fees, carbon, ramps, peaks, solar power and infeasible problems."""

import pytest

from optimizer.planner.planner import solve_problem
from tests.support.hand import grid, machine, outlook, problem, site, solved, source, through
from twin.errors import NoScheduleError

MOVABLE = [("batch", [0.0, 4.0], [4.0, 4.0], 10.0)]
"""4 MWh that may be done in either of two hours."""


def test_work_goes_to_the_cheap_hour():
    """Proves: 4 MWh at 10 instead of 20. Sensitivity: 80 at once, 60 in halves."""
    plan = solved(site(), outlook([20.0, 10.0], jobs=MOVABLE))
    assert plan.objective == pytest.approx(40.0)


def test_carbon_has_a_price():
    """Proves: at 0.1 EUR/kg the clean hour wins: 20 + 10 against 10 + 30, for 4 MWh.

    Sensitivity: 160 in the hour that is cheap without carbon.
    """
    ahead = outlook([20.0, 10.0], jobs=MOVABLE, carbon=[100.0, 300.0])
    plan = solved(site(), ahead, carbon=0.1)
    assert plan.objective == pytest.approx(120.0)
    assert plan.accounts["carbon"] == pytest.approx([40.0, 0.0])


def test_peak_charge_flattens_the_import():
    """Proves: at 100 EUR/MW, halves of 2 MW (200 + 60) beat 4 MW in the cheap hour (400 + 40).

    Sensitivity: 440 if the charge were paid but not seen.
    """
    where = site(connection=grid(peak_price=100.0))
    plan = solved(where, outlook([20.0, 10.0], jobs=MOVABLE))
    assert plan.objective == pytest.approx(260.0)


def test_import_up_to_the_running_peak_is_free():
    """Proves: under a running peak of 4 MW nothing is charged. Sensitivity: 260 or 440."""
    where = site(connection=grid(peak_price=100.0))
    plan = solved(where, outlook([20.0, 10.0], jobs=MOVABLE), peak=4.0)
    assert plan.objective == pytest.approx(40.0)


def test_running_peak_keeps_its_margin():
    """Proves: with a quarter of 4 MW kept, only 3 are free at the cheap hour: 30 + 1 at 20 = 50.

    Sensitivity: 40 without the margin, 140 if the fourth MW were bought as a peak.
    """
    margins = site().margins.model_copy(update={"peak": 0.25})
    where = site(connection=grid(peak_price=100.0), margins=margins)
    plan = solved(where, outlook([20.0, 10.0], jobs=MOVABLE), peak=4.0)
    assert plan.objective == pytest.approx(50.0)


def test_tight_ramp_limits_the_change():
    """Proves: at 1/36 MW/min the net import of an hour differs by no more than 1 MW from the last.

    4 MWh at 30, 20, 10, from 1 MW on: 1/3 + 4/3 + 7/3 MWh cost 60. Sensitivity: 40 without ramp.
    """
    where = site(connection=grid(ramp=1.0 / 36.0))
    jobs = [("batch", [0.0, 0.0, 4.0], [4.0, 4.0, 4.0], 10.0)]
    plan = solved(where, outlook([30.0, 20.0, 10.0], jobs=jobs), before=1.0)
    assert plan.objective == pytest.approx(60.0)
    assert plan.values["grid.import_power"] == pytest.approx([1 / 3, 4 / 3, 7 / 3])


def test_impossible_ramp_is_priced_not_infeasible():
    """Proves: 9 MW after 0 MW at 1 MW an hour are served; 8 MW of violation are reported."""
    where = site(connection=grid(ramp=1.0 / 36.0))
    plan = solved(where, outlook([10.0], service=9.0))
    assert plan.values["grid.ramp_excess"] == pytest.approx([8.0])


def test_ramp_from_beyond_the_connection_is_kept():
    """Proves: from 6 MW, 2 MW an hour, down to the 2 MW of the connection: 2 MW of breach, paid,
    and 2 MW of work now at 30, not later at 10. Sensitivity: no ramp, and a fall of 6 MW.
    """
    where = site(connection=grid(ramp=2.0 / 36.0, import_limit=2.0))
    plan = solved(where, outlook([30.0, 10.0], jobs=MOVABLE[:1]), before=6.0)
    assert plan.values["grid.ramp_excess"] == pytest.approx([2.0])
    assert plan.values["grid.import_power"][0] == pytest.approx(2.0)


def test_horizon_of_one_interval_is_solved():
    """Proves: a horizon of one interval is solved. Sensitivity: an empty ramp or balance."""
    plan = solved(site(), outlook([10.0], service=3.0, hours=0.25))
    assert plan.objective == pytest.approx(7.5)


def test_solar_is_curtailed_at_negative_prices():
    """Proves: at 50 the sun serves 4 of 5 MW; at -50 the grid serves all. Sensitivity: -150."""
    where = site(source())
    plan = solved(where, outlook([50.0, -50.0], service=5.0, sun=[4.0, 4.0]))
    assert plan.values["sun.import_power"] == pytest.approx([4.0, 0.0])
    assert plan.objective == pytest.approx(50.0 - 250.0)


def test_import_and_export_exclude_each_other():
    """Proves: at a fee of -5 on import, simultaneous import and export would earn."""
    connection = grid(export_limit=10.0).model_copy(update={"import_fee": -5.0})
    plan = solved(site(connection=connection), outlook([40.0], service=2.0))
    assert plan.objective == pytest.approx(70.0)
    assert plan.values["grid.export_power"] == pytest.approx([0.0])


def test_service_beyond_the_connection_is_infeasible():
    """Proves: the error names the shortage, its hour and amount, and the binding limit.

    9 MW of racks behind 5 MW lack 4. Sensitivity: "infeasible" alone.
    """
    ahead = outlook([10.0, 10.0], service=[1.0, 9.0])
    with pytest.raises(NoScheduleError) as caught:
        solve_problem(problem(site(connection=grid(import_limit=5.0)), ahead))
    message = str(caught.value)
    assert message.startswith("hand, 2026-07-01T00:00Z, 2 h: no schedule keeps every limit")
    assert "is 4 MW short from 2026-07-01T01:00Z to 2026-07-01T02:00Z" in message
    assert "binding limits: power taken from the connection or source (grid, 5 MW)" in message
    assert "remedy: lower the service by what 4 MW serve in these hours" in message


def test_too_small_machine_is_named_with_its_size():
    """Proves: a feeder of 6 MW under 9 MW of racks binds. Sensitivity: the connection."""
    small = machine("feeder", "rack", draws={"medium_voltage": through}, limit=6.0)
    with pytest.raises(
        NoScheduleError, match=r"3 MW short .*(?s:.*)feeder \(at most 6 MW\)"
    ) as caught:
        solve_problem(problem(site(feeder=small), outlook([10.0], service=9.0)))
    assert "connection" not in str(caught.value)
