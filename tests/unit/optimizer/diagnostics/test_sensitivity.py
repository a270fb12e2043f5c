"""A limit in several rows of the model is relaxed in all of them."""

import pytest

from optimizer.diagnostics.binding_limits import binding_limits
from optimizer.diagnostics.sensitivity import limit_values
from optimizer.planner.schedule import build_schedule
from tests.support import hand
from tests.support.reserve_sites import ahead, held_by, product
from twin.site_settings import SafetyMargins

LAST = [("batch", [0.0] * 7 + [20.0], [20.0] * 8, 10.0)]
IDLE = product(price=0.0)
"""A product that sells nothing, whose rows stand beside those of the plan."""


def values_by_limit(plan):
    return {one.limit: one.marginal_value for one in limit_values(plan, build_schedule(plan))}


@pytest.mark.parametrize("products", [(), (IDLE,)])
@pytest.mark.parametrize(
    ("prices", "limit", "worth"),
    [
        ([10.0, 80.0, 80.0], "charging (battery)", 0.81 * 80.0 - 10.0),
        ([10.0, 10.0, 80.0], "discharging (battery)", 80.0 - 10.0 / 0.81),
    ],
)
def test_value_of_battery_power_equals_the_saving(prices, limit, worth, products):
    """Proves: a MW more of the way that is short moves energy from 10 to 80 EUR, 0.81 of it.

    Sensitivity: zero, if the row of charge or discharge binds as before.
    """
    store = hand.battery(capacity=10.0, efficiency=0.9)
    plan = hand.solved(held_by(store, *products), ahead(prices, service=4.0))
    assert values_by_limit(plan) == {limit: pytest.approx(worth)}


@pytest.mark.parametrize("products", [(), (IDLE,)])
def test_idle_product_does_not_change_limit_values(products):
    """Proves: a MW more does 2 MWh at 10 instead of 50 EUR, or 4 MWh at 10 instead of 80.

    Sensitivity: zero with the product, if the headroom row binds as before.
    """
    narrow = hand.grid(import_limit=4.0)
    where = held_by(hand.battery(capacity=0.01, power=0.01), *products, connection=narrow)
    plan = hand.solved(where, ahead([10.0] * 2 + [50.0] * 6, jobs=LAST))
    worth = values_by_limit(plan)["power taken from the connection or source (grid)"]
    assert worth == pytest.approx(80.0)

    line = hand.machine("line", "medium_voltage", draws={"grid": hand.through}, limit=4.0)
    where = held_by(hand.battery(capacity=0.01, power=0.01), *products, line=line)
    plan = hand.solved(where, ahead([10.0] * 4 + [80.0] * 4, jobs=LAST))
    assert values_by_limit(plan)["most that the machine can give (line)"] == pytest.approx(280.0)


@pytest.mark.parametrize("products", [(), (IDLE,)])
def test_value_of_export_is_its_price(products):
    """Proves: a battery of 10 MWh sells for two hours all but a tenth of what may be sold.

    A MW more earns 0.9 x 2 x 50 EUR. Sensitivity: nothing with the product, where the room for
    reserves binds as before.
    """
    store = hand.battery(capacity=10.0, power=5.0)
    margins = SafetyMargins.model_construct(power=0.1, peak=0.0, temperature=0.0, level=0.0)
    narrow = hand.grid(export_limit=2.0)
    where = held_by(store, *products, connection=narrow, margins=margins)
    plan = hand.solved(where, ahead([50.0] * 2), level=1.0)
    assert values_by_limit(plan) == {"power or heat sold (grid)": pytest.approx(90.0)}


@pytest.mark.parametrize("products", [(), (IDLE,)])
def test_idle_product_does_not_change_battery_value(products):
    """Proves: a MWh more is filled at 10 and saves 80 EUR."""
    store = hand.battery(capacity=1.5, power=1.0, efficiency=1.0)
    plan = hand.solved(held_by(store, *products), ahead([10.0] * 2 + [80.0] * 2, service=3.0))
    assert values_by_limit(plan) == {"level of the store (battery)": pytest.approx(70.0)}


def test_reserves_narrow_the_connection():
    """Proves: of 4 MW half a MW is kept for reserves; a MW more does 2 MWh at 10 instead of 50."""
    store = hand.battery(capacity=4.0, power=0.5)
    where = held_by(store, product(price=0.0), connection=hand.grid(import_limit=4.0))
    outlook = ahead([10.0] * 2 + [50.0] * 6, held=[0.5] * 8, jobs=LAST)
    plan = hand.solved(where, outlook, level=0.5)
    worth = values_by_limit(plan)["power taken from the connection or source (grid)"]
    assert worth == pytest.approx(80.0)


def test_value_of_power_beside_reserves():
    """Proves: of 1 MW half is sold, and half gives for 8 h; a MW more saves 8 x 80 EUR."""
    store = hand.battery(capacity=20.0, power=1.0)
    full = product(price=0.0, block=4.0)
    outlook = ahead([80.0] * 8, held=[0.5] * 8, service=3.0)
    plan = hand.solved(held_by(store, full), outlook, level=0.5)
    assert values_by_limit(plan)["discharging (battery)"] == pytest.approx(640.0)


@pytest.mark.parametrize(
    ("reserve", "limit"),
    [
        (0.0, "energy behind reserves upwards (battery)"),
        (0.1, "least level of the store (battery)"),
    ],
)
def test_energy_behind_reserves_is_the_minimum_level(reserve, limit):
    """Proves: a MWh that need not stay saves 80 EUR; an empty battery has no lower end.

    Less what a controller that fades near its end takes of it.
    """
    store = hand.battery(capacity=4.0, power=1.0).model_copy(update={"reserve": reserve})
    outlook = ahead([80.0] * 8, held=[0.5] * 8, service=3.0)
    plan = hand.solved(held_by(store, product(price=0.0)), outlook, level=0.5)
    found = values_by_limit(plan)
    assert found[limit] == pytest.approx(80.0, rel=1e-3)
    assert sum(found.values()) == pytest.approx(80.0, abs=0.1)


def test_ramp_is_one_limit_in_all_intervals():
    """Proves: work of 20 MWh at 50 EUR, worth 90: from none, 1.8 MW more an hour. A MW more in each
    hour is 1 and 2 MW more of work, worth 40 EUR each.

    Sensitivity: 80 for an hour, the first interval listed under the label of the others.
    """
    where = hand.site(connection=hand.grid(import_limit=30.0, ramp=0.05))
    jobs = [("batch", [0.0, 0.0], [20.0, 20.0], 30.0)]
    plan = hand.solved(where, hand.outlook([50.0] * 2, jobs=jobs, terminal=90.0))
    (one,) = limit_values(plan, build_schedule(plan))
    assert one.limit == "ramp of the connection, upwards (grid)"
    assert (one.marginal_value, one.binding_hours) == (pytest.approx(120.0), 2.0)


def test_value_of_a_limit_comes_with_its_range():
    """Proves: 3 of 4 MWh run at 10 instead of 50 EUR; a MW more saves 40 EUR, a second nothing."""
    where = hand.site(connection=hand.grid(import_limit=3.0))
    jobs = [("batch", [0.0, 4.0], [4.0, 4.0], 10.0)]
    solution = hand.solved(where, hand.outlook([10.0, 50.0], jobs=jobs))
    (one,) = limit_values(solution, build_schedule(solution))
    assert one.marginal_value == pytest.approx(40.0)
    assert one.valid_for == pytest.approx(1.0, rel=0.06)
    assert one.as_json()["valid_for"] == one.valid_for


def test_exceeded_ramp_is_valued_without_its_penalty():
    """Proves: 5 and 10 MW from none, 1.8 MW an hour: a MW more saves no money.

    Sensitivity: 200,000 EUR, the penalty on the excess.
    """
    where = hand.site(connection=hand.grid(import_limit=30.0, ramp=0.05))
    plan = hand.solved(where, hand.outlook([50.0] * 2, service=[5.0, 10.0]))
    assert plan.penalties["ramp"].sum() == pytest.approx(100_000.0 * (3.2 + 3.2))
    assert limit_values(plan, build_schedule(plan)) == ()


def test_energy_behind_reserves_is_valued_per_mwh():
    """Proves: the saving of a MWh less behind a reserve is per MWh. Sensitivity: per MW."""
    store = hand.battery(capacity=4.0, power=1.0)
    outlook = ahead([80.0] * 8, held=[0.5] * 8, service=3.0)
    plan = hand.solved(held_by(store, product(price=0.0)), outlook, level=0.5)
    units = {one.limit: one.unit for one in binding_limits(plan, build_schedule(plan))}
    units |= {one.limit: one.unit for one in limit_values(plan, build_schedule(plan))}
    behind = {unit for limit, unit in units.items() if limit.startswith("energy behind reserves")}
    assert behind == {"MWh"}
