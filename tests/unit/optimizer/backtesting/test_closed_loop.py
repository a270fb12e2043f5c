"""The closed loop: five policies, one plant, the same work; files on disk."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

import sites
from optimizer.backtesting.case import BacktestCase
from optimizer.backtesting.closed_loop import plant_setpoints
from optimizer.backtesting.reserve_calls import build_plant
from optimizer.backtesting.run_folder import (
    read_backtest_decision,
    read_trajectory,
    write_policy_run,
    write_results,
)
from optimizer.backtesting.runner import (
    backtest,
    build_policy,
    run_backtest_policy,
)
from optimizer.model.objective import RiskPreference
from optimizer.policies.policy import Observation
from optimizer.realtime.orders import DispatchOrders
from tests.support import small_days
from tests.support.strict_site import strict
from twin.errors import StateError

HOURS = 3
POLICIES = ("immediate", "threshold", "threshold_capped", "deterministic", "perfect")
RAMP = "ramp of grid_import_power"


@pytest.fixture(scope="module")
def trials():
    """Return the stored runs of a back-test of three hours."""
    kept, progress = [], []
    results = backtest(
        small_days.setting(HOURS),
        policies=POLICIES,
        on_progress=lambda *step: progress.append(step),
        on_run=kept.append,
    )
    return results, kept, progress


@pytest.fixture(scope="module")
def optimal(trials):
    return next(trial for trial in trials[1] if trial.policy == "deterministic")


@pytest.fixture(scope="module")
def folder(trials, tmp_path_factory):
    """Return the folder of a back-test."""
    folder = tmp_path_factory.mktemp("run")
    results, kept, _ = trials
    for trial in kept:
        if trial.policy in {"deterministic", "immediate"}:
            write_policy_run(folder, small_days.setting(HOURS).site, trial)
    write_results(folder, results)
    return folder


def test_all_policies_do_the_same_work(trials):
    done = [summary.work_done for summary in trials[0].policies.values()]
    assert len(done) == 5
    assert min(done) > 0.999 * max(done)


def test_no_policy_violates_a_limit_of_the_plant(trials):
    assert {name: s.violations for name, s in trials[0].policies.items()} == dict.fromkeys(
        POLICIES, 0
    )


def test_violations_are_reported_with_their_first_minute(optimal):
    counts = optimal.violated_minutes.copy(
        data=np.where(optimal.violated_minutes["limit"] == RAMP, 2, 0)
    )
    first = np.full(counts.shape, np.datetime64("2026-06-16T05:07", "us"))
    broken = replace(
        optimal, violated_minutes=counts.assign_coords(first=("limit", first))
    ).violated_limits
    row = {"limit": RAMP, "plant": 0, "minutes": 2, "first": "2026-06-16T05:07Z"}
    assert broken == [row]
    assert optimal.violated_limits == []


def test_every_step_of_every_policy_is_reported(trials):
    steps = 4 * HOURS
    assert trials[2] == [(name, 0, i + 1, steps) for name in POLICIES for i in range(steps)]


def test_json_has_the_keys_of_the_command(trials):
    document = json.loads(json.dumps(trials[0].as_json(), allow_nan=False))
    assert {"site", "start", "days", "cpu_s", "capture", "gaps", "policies"} <= set(document)
    assert list(document["policies"]) == list(POLICIES)
    assert document["start"] == "2026-06-16T00:00Z"


def test_trajectory_has_quarter_hours_and_planned_import(optimal):
    course = optimal.trajectory
    assert course.sizes["time"] == 4 * HOURS
    assert course.sizes["instant"] == 4 * HOURS + 1
    for name in ("electricity_price", "facility_power", "plan_grid_import_power", "tank_level"):
        assert course[name].notnull().all(), name


def test_plant_is_close_to_the_plan(optimal):
    # jobs run completely or not at all; the widest need a tenth of the 28 racks
    course = optimal.trajectory
    error = np.abs(course["plan_facility_power"] - course["facility_power"])
    assert float(error.mean()) < 0.15 * float(course["facility_power"].mean())


def test_billed_energy_is_that_of_the_trajectory(optimal):
    course = optimal.trajectory
    energy = float((course["facility_power"] * course["duration"]).sum())
    assert optimal.settlement.energy_mwh == pytest.approx(energy)
    bought = course["grid_import_power"] - course["grid_export_power"]
    bought = float((bought * course["duration"] * course["electricity_price"]).sum())
    assert optimal.settlement.accounts["electricity"] == pytest.approx(bought, rel=1e-6)


def test_backlog_falls_by_the_work_and_rises_by_arrivals(trials):
    course = next(t for t in trials[1] if t.policy == "immediate").trajectory
    assert (course["work_backlog"] >= 0.0).all()
    assert float(course["work_backlog"][-1]) != float(course["work_backlog"][0])


def test_only_plans_have_decisions(trials):
    counts = {trial.policy: len(trial.decisions) for trial in trials[1]}
    assert counts["immediate"] == counts["threshold_capped"] == 0
    assert counts["deterministic"] == HOURS  # one an hour
    assert counts["perfect"] >= 1


def test_equal_seeds_give_equal_bills(trials):
    first = next(t for t in trials[1] if t.policy == "threshold_capped")
    here = small_days.setting(HOURS)
    again, other = (
        run_backtest_policy(here, "threshold_capped", seed=seed, on_progress=lambda *_: None)
        for seed in (0, 1)
    )
    assert again.settlement == first.settlement
    assert again.trajectory.identical(first.trajectory)
    assert other.settlement != first.settlement


def test_set_points_by_hand():
    # 28 racks wait at 24 kW; 2 serve at 108 kW more; work of 1 MW: 1.888 MW in two equal halls
    orders = DispatchOrders(
        jobs={},
        battery_charge={"battery_1": 0.3},
        battery_discharge={},
        tank_charge={},
        tank_discharge={"tank_1": 0.1},
        renewable_cap={"wind_1": 0.2},
    )
    points = plant_setpoints(
        small_days.setting(HOURS).site, orders, service_racks=2.0, work_power=1.0
    )
    assert points["hall_power", "hall_1"] == pytest.approx(0.944)
    assert points["hall_power", "hall_2"] == pytest.approx(0.944)
    assert points["battery_charge", "battery_1"] == 0.3
    assert points["battery_discharge", "battery_1"] == 0.0
    assert points["tank_discharge", "tank_1"] == 0.1
    assert points["renewable_used_power", "wind_1"] == 0.2
    assert points["renewable_used_power", "solar_1"] == np.inf


def test_folder_holds_trajectories_figures_and_results(folder):
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "deterministic_0.decisions.json",
        "deterministic_0.nc",
        "deterministic_0.png",
        "immediate_0.nc",
        "immediate_0.png",
        "results.json",
    ]
    assert (folder / "deterministic_0.png").read_bytes().startswith(b"\x89PNG")


def test_the_decision_in_force_is_found(folder):
    assert read_backtest_decision(folder)["start"] == "2026-06-16T02:00Z"
    assert read_backtest_decision(folder, "2026-06-16T01:59")["start"] == "2026-06-16T01:00Z"
    assert read_backtest_decision(folder, "2026-06-16T00:00")["start"] == "2026-06-16T00:00Z"


def test_trajectory_is_read_back_unchanged(folder, optimal):
    course = read_trajectory(folder)
    np.testing.assert_array_equal(course["facility_power"], optimal.trajectory["facility_power"])


@pytest.mark.parametrize("at", ["2026-06-15T23:59", "2026-06-16T03:00"])
def test_a_moment_outside_the_run_is_refused(folder, at):
    with pytest.raises(StateError, match=r"--at = 2026.*: from 2026-06-16T00:00"):
        read_backtest_decision(folder, at)


def test_folder_without_decisions_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(StateError, match=r"hedged_0\.decisions\.json.*backtest"):
        read_backtest_decision(tmp_path)


@pytest.mark.parametrize(("days", "ahead"), [(9, 168.0), (7, 168.0), (2, 48.0)])
def test_perfect_foresight_sees_the_run_or_a_week(days, ahead):
    """Proves: longer runs are cut at the horizon, shorter ones at their end."""
    site, whole = sites.load_site("small"), small_days.world(days)
    setting = BacktestCase.of(site, whole, load_scale=0.6)
    decided = []
    policy = build_policy(setting, "perfect", decided.append)
    policy.orders(Observation(state=build_plant(setting, seed=0).observe(), queue=setting.queue()))
    hours = decided[0].schedule["duration"].to_numpy()
    assert hours.sum() == pytest.approx(ahead)
    assert hours.min() >= 0.25


@pytest.mark.long
def test_a_day_of_all_policies():
    results = backtest(small_days.setting(24))
    found = results.policies
    assert results.planner == "hedged"
    assert results.risk == {"hedged": asdict(RiskPreference())}
    done = [summary.work_done for summary in found.values()]
    assert min(done) > 0.999 * max(done)
    assert sum(summary.violations for summary in found.values()) == 0
    objective = {name: summary.objective for name, summary in found.items()}
    assert objective["hedged"] < objective["threshold_capped"] < objective["immediate"]
    assert objective["perfect"] < objective["threshold_capped"]
    assert found["hedged"].lateness_h <= found["threshold_capped"].lateness_h + 1e-9


def warm(setting):
    """Return a case of a warm day whose chillers are committed."""
    series = setting.inputs.series.copy(deep=True)
    series["air_temperature"].values[:] += 8.0
    return BacktestCase.of(
        strict(setting.site), replace(setting.inputs, series=series), load_scale=0.6
    )


@pytest.mark.slow
def test_plant_follows_planned_chillers_and_pays_starts():
    """Proves: on a warm day each quarter-hour has at least the units of its plan.

    Chillers start once, at 20 EUR, and run an hour. Under a rule the plant stages itself and pays
    the same. Sensitivity: by itself the plant runs two from the first hour on.
    """
    setting = warm(small_days.setting(HOURS))
    names, word = ("threshold_capped", "deterministic"), "cooling_plant_units_on"
    trials = {
        name: run_backtest_policy(setting, name, seed=0, on_progress=lambda *_: None)
        for name in names
    }
    ran = {
        name: trials[name].trajectory[word].sel(circuit="chilled_plant").to_numpy()
        for name in names
    }
    plans = [decision.schedule[word] for decision in trials["deterministic"].decisions]
    planned = np.concatenate([plan.sel(cooling_plant="chilled_plant")[:4] for plan in plans])
    assert planned.min() >= 1.0
    np.testing.assert_array_equal(ran["deterministic"], planned)
    assert ran["threshold_capped"].max() == 2.0
    for trial in trials.values():
        assert trial.settlement.accounts["starts"] == 20.0 * trial.settlement.staging.starts > 0.0
    assert trials["deterministic"].summary.starts == planned.max()
    assert trials["deterministic"].summary.short_runs == 0.0
