"""Set points of the water in plans: chosen, counted on, ordered, requested, and judged."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from optimizer.backtesting.closed_loop import plant_setpoints
from optimizer.backtesting.runner import run_backtest_policy
from optimizer.model.model_data import build_model_data
from optimizer.planner.planner import decide
from optimizer.realtime.plan_follower import RealtimeController
from optimizer.service.plant_orders import plant_commands
from optimizer.verification.verifier import verify
from tests.support import small_days
from twin.equipment import CduBank, CoolingPlant
from twin.feasibility import consistency
from twin.simulation import setpoints
from twin.site_settings import SetPointRules
from twin.weather import Weather

CHOICES = ("declared", "temperature", "cheapest")


@cache
def question(choice):
    """Return the small day's question in hot air, to a site that chooses its set points so."""
    usual = small_days.problem(4)
    site = usual.site.model_copy(update={"set_points": SetPointRules(choice=choice)})
    hot = usual.outlook["air_temperature"].copy(data=np.full(usual.outlook.sizes["time"], 33.0))
    return replace(usual, site=site, outlook=usual.outlook.assign(air_temperature=hot))


@cache
def decision(choice):
    return decide(question(choice))


def test_fixed_set_points_are_not_planned():
    assert build_model_data(question("declared")).setpoints is None
    assert not set(setpoints.SET_POINT_VARIABLES) & set(decision("declared").schedule)


@pytest.mark.parametrize("choice", CHOICES[1:])
def test_planned_set_points_keep_the_ramp(choice):
    plan = decision(choice).schedule
    expected = (
        set(setpoints.SET_POINT_VARIABLES)
        if choice == "cheapest"
        else {setpoints.SUPPLY_SET_POINT_VARIABLE}
    )
    assert set(setpoints.SET_POINT_VARIABLES) & set(plan) == expected
    site = question(choice).site
    verdict = verify(site, question(choice).state, plan)
    assert (consistency.supply_ramp_ratio(site, plan, verdict.replay) <= 1.0).all()
    assert verdict.violations == ()
    supply = plan[setpoints.SUPPLY_SET_POINT_VARIABLE].sel(circuit="warm_plant")
    assert float(supply.max()) > 38.0  # warmer than declared


def test_curves_use_the_chosen_set_points():
    """At the same heat the machines of the plan are those at its set points."""
    inputs = build_model_data(question("cheapest"))
    plants = list(inputs.problem.site.machines_of(CoolingPlant))
    assert plants
    for plant in plants:
        (convert,) = (c for c in inputs.problem.site.conversions if c.owner == plant.name)
        curve = inputs.curves[plant.name]
        weather = Weather.from_dataset(inputs.problem.outlook)
        middle = 0.5 * curve.segment_widths.sum(axis=1) + curve.min_output
        here = (
            convert.with_set_points(inputs.setpoints)
            .flows_at_output(middle, weather)
            .inputs["medium_voltage"]
        )
        laid = curve.draw("medium_voltage", middle)
        assert (laid >= here - 1e-6).all()
        assert (laid <= here + curve.max_excess_over_curve["medium_voltage"] + 1e-6).all()


def test_orders_carry_set_points_to_the_plant():
    question_, plan = question("cheapest"), decision("cheapest").schedule
    queue = small_days.queue()
    orders = RealtimeController(question_.site).orders(plan, question_.state, queue)
    points = plant_setpoints(question_.site, orders, service_racks=2.0, work_power=1.0)
    first = plan.isel(time=0)
    for word, (_, dim) in setpoints.SET_POINT_VARIABLES.items():
        for name in first[dim].to_numpy():
            assert points[word, str(name)] == pytest.approx(float(first[word].sel({dim: name})))


def test_coolant_request_follows_from_the_set_point():
    """The plant's contract has a request for the coolant: it is what the plan's water gives."""
    usual = {}
    for choice in ("declared", "cheapest"):
        made, problem, queue = decision(choice), question(choice), small_days.queue()
        orders = RealtimeController(problem.site).orders(made.schedule, problem.state, queue)
        replay = made.verdict.replay
        outcome = SimpleNamespace(
            orders=orders,
            queue=queue,
            problem=problem,
            choice=SimpleNamespace(replay=replay),
            excluded_racks=(),
        )
        requests = plant_commands(problem.site, outcome).set_point_requests
        units = [v for (name, _), v in requests.items() if name == "technology_supply_request"]
        (bank,) = problem.site.machines_of(CduBank)
        assert len(units) == bank.count
        replayed = replay["technology_supply_temperature"].isel(time=0).item()
        assert units == pytest.approx([replayed] * bank.count)
        usual[choice] = units[0]
    assert usual["cheapest"] != pytest.approx(usual["declared"], abs=0.05)


def test_fast_ramp_and_dew_point_are_refused_by_name():
    problem, plan = question("cheapest"), decision("cheapest").schedule.copy(deep=True)
    plan[setpoints.SUPPLY_SET_POINT_VARIABLE][3:] -= (
        5.0  # 5 K in a quarter-hour, where 1.5 K are allowed
    )
    limits = {breach.limit for breach in verify(problem.site, problem.state, plan).violations}
    assert "ramp of the supply temperatures" in limits
    wet = problem.site.model_copy(
        update={"set_points": SetPointRules.model_validate({"hall_dew_point": "29 degC"})}
    )
    cold = decision("cheapest").schedule.copy(deep=True)
    cold["air_temperature"][:] = 2.0  # in hot air the water would not get so cold
    cold[setpoints.SUPPLY_SET_POINT_VARIABLE][:] = xr.where(
        cold["circuit"] == "warm_plant", 20.0, 18.0
    )
    limits = {breach.limit for breach in verify(wet, problem.state, cold).violations}
    assert "coolant near the dew point of the halls" in limits


@pytest.mark.slow
@pytest.mark.parametrize("choice", CHOICES[1:])
def test_closed_loop_breaks_no_limit(choice):
    """Six hours on a plant that is not what the plan believes."""
    usual = small_days.setting(6)
    site = usual.site.model_copy(update={"set_points": SetPointRules(choice=choice)})
    trial = run_backtest_policy(
        replace(usual, site=site), "deterministic", seed=0, on_progress=lambda *_: None
    )
    assert int(trial.violated_minutes.sum()) == 0
    assert trial.decisions
    assert all(setpoints.SUPPLY_SET_POINT_VARIABLE in made.schedule for made in trial.decisions)
