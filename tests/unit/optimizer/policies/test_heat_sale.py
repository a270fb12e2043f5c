"""Heat sold by a site: planned, verified, ordered and paid for."""

import numpy as np
import pytest

from optimizer.backtesting.runner import run_backtest_policy
from optimizer.diagnostics.explanation import explain_schedule
from optimizer.planner.planner import decide, solve_problem
from optimizer.planner.schedule import build_schedule
from optimizer.policies.price_rules import order_cheapest_hours, order_immediate
from optimizer.policies.storage_and_renewables import sell_heat
from optimizer.verification.verifier import verify
from tests.support import heat_pump_site, small_days
from tests.support.invalid_schedules import HEAT, HEAT_FORM
from twin.simulation.simulate import simulate
from twin.variables import net_import


@pytest.fixture(scope="module")
def problem():
    return heat_pump_site.problem()


@pytest.fixture
def schedule():
    return heat_pump_site.decision().schedule.copy(deep=True)


def sold(data, pump="pump"):
    return data["heat_reuse_power"].sel(heat_reuse=pump).to_numpy()


def demand(site, data):
    return site.equipment["pump"].network_demand(data["air_temperature"].to_numpy())


def test_cheap_power_sells_all_heat_demanded():
    decision = decide(heat_pump_site.at_price(heat_pump_site.problem(), 20.0))
    asked = demand(heat_pump_site.heated(), decision.schedule)
    assert sold(decision.schedule) == pytest.approx(0.98 * asked, rel=0.01)
    assert decision.explanation.accounts["heat"] == pytest.approx(
        -25.0 * float(sold(decision.schedule) @ decision.schedule["duration"].to_numpy())
    )


def test_dear_power_sells_no_heat():
    decision = decide(heat_pump_site.at_price(heat_pump_site.problem(), 500.0))
    assert sold(decision.schedule) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("price", [-100.0, 0.0, 60.0, 300.0])
@pytest.mark.parametrize("changed", [{}, {**heat_pump_site.HUNGRY, "heat_price": "400 EUR/MWh"}])
def test_promised_import_equals_the_replay(price, changed):
    """The promised import is that of the twin at any price of power and heat."""
    question = heat_pump_site.at_price(
        heat_pump_site.at_pump(heat_pump_site.large_problem(), **changed), price
    )
    decision = decide(question)
    error = np.abs(net_import(decision.verdict.replay) - net_import(decision.schedule))
    assert float(error.max()) < 0.4  # of 220 MW; lines lie above the curves by 0.2
    planned, done = (
        sold(data, "heat_pump_1") for data in (decision.schedule, decision.verdict.replay)
    )
    assert planned == pytest.approx(done, abs=0.3)


def test_high_heat_price_sells_all_heat():
    """Proves: at 400 EUR/MWh of heat the cooling plant gets no load."""
    question = heat_pump_site.at_pump(
        heat_pump_site.large_problem(), **heat_pump_site.HUNGRY, heat_price="400 EUR/MWh"
    )
    replay = decide(question).verdict.replay
    left = replay["cooling_load"].sel(circuit="warm_plant").to_numpy()
    taken = replay["heat_reuse_source_heat"].sel(heat_reuse="heat_pump_1").to_numpy()
    assert (taken > 25.0).all()
    assert left == pytest.approx(0.0, abs=0.3)


@pytest.mark.parametrize("spoil", HEAT, ids=lambda spoil: spoil.__name__)
def test_heat_beyond_demand_or_supply_is_refused(problem, schedule, spoil):
    damaged = spoil(schedule)
    replay = simulate(problem.site, problem.state, damaged)
    for name in ("grid_import_power", "grid_export_power"):
        damaged[name].values = replay[name].to_numpy()
    verdict = verify(problem.site, problem.state, damaged)
    assert any(HEAT[spoil] in breach.limit for breach in verdict.violations), verdict.violations


@pytest.mark.parametrize("spoil", HEAT_FORM, ids=lambda spoil: spoil.__name__)
def test_invalid_heat_schedule_is_refused(problem, schedule, spoil):
    assert not verify(problem.site, problem.state, spoil(schedule)).is_safe


def test_heat_sale_is_optional(problem, schedule):
    schedule["heat_reuse_power"].values[:] = 0.0
    replay = simulate(problem.site, problem.state, schedule)
    for name in ("grid_import_power", "grid_export_power"):
        schedule[name].values = replay[name].to_numpy()
    assert verify(problem.site, problem.state, schedule).is_safe


def test_heat_pump_is_no_binding_source(problem):
    solution = solve_problem(problem)
    binding = explain_schedule(solution, build_schedule(solution)).binding_limits
    assert binding
    assert not any("connection or source (pump)" in limit.limit for limit in binding)


def test_rules_sell_heat_while_it_pays():
    site, here = heat_pump_site.heated(), heat_pump_site.problem()
    air, asked = here.outlook["air_temperature"].to_numpy(), demand(site, here.outlook)
    income = (25.0 * asked / site.equipment["pump"].power(asked, air))[
        0
    ] - site.grid_connection.import_fee
    for price, pays in ((income - 1.0, True), (income + 1.0, False)):
        known = heat_pump_site.at_price(here, price).outlook
        asked = float(demand(site, known)[0])
        queue = small_days.queue()
        always = order_immediate(known, here.state, queue=queue, site=site).heat_reuse_power
        asks = order_cheapest_hours(known, here.state, queue=queue, site=site).heat_reuse_power
        assert always == {"pump": pytest.approx(asked)}
        assert asks == {"pump": pytest.approx(asked if pays else 0.0)}


def test_site_without_a_heat_pump_sells_no_heat():
    outlook = small_days.problem().outlook
    assert sell_heat(outlook, small_days.problem().site) is outlook


@pytest.mark.parametrize("air", [0.0, 15.0])
def test_heat_is_sold_up_to_its_break_even_price(air):
    """A network whose water falls from 80 to 60 degC needs less lift in spring."""
    site = heat_pump_site.heated(mild_supply_temperature="60 degC")
    pump = site.equipment["pump"]
    known = heat_pump_site.problem().outlook.copy(deep=True)
    known["air_temperature"].values[:] = air
    heat = demand(site, known)
    breakeven = (25.0 * heat / pump.power(heat, known["air_temperature"].to_numpy()))[0]
    fee = site.mean_import_fees(known["instant"].to_numpy())[0]
    assert abs(breakeven - 25.0 * pump.rated_cop) > 20.0
    for more, share in ((-1.0, 1.0), (1.0, 0.0)):
        known["electricity_price"].values[:] = breakeven - fee + more
        found = sold(sell_heat(known, site, follow_price=True))
        assert found == pytest.approx(share * heat)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["threshold_capped", "deterministic"])
def test_plant_sells_the_ordered_heat(policy):
    trial = run_backtest_policy(
        heat_pump_site.setting(2), policy, seed=0, on_progress=lambda *_: None
    )
    heat = trial.trajectory["heat_reuse_power"].sel(heat_reuse="pump")
    assert float(heat.min()) > 0.1
    assert trial.settlement.accounts["heat"] == pytest.approx(
        -25.0 * 0.25 * float(heat.sum()), rel=1e-6
    )
    assert float(trial.trajectory["closure"].max()) < 1e-6
    assert int(trial.violated_minutes.sum()) == 0
