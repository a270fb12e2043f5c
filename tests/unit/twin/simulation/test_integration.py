"""Stores and loops over time, against numbers worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import sites
from twin.equipment import CoolingPlant
from twin.relations import Store
from twin.simulation.state_integration import (
    CoolingCapacity,
    LoopTransport,
    integrate_loop,
    integrate_storage,
    storage_losses,
)
from twin.weather import Weather

MINUTE = 1.0 / 60.0


def store(**changed):
    """Return a store of 1 to 9 MWh and 4 MW that keeps 0.9 going in and 0.8 coming out."""
    plain = {
        "min_level": 1.0,
        "max_level": 9.0,
        "charge_limit": 4.0,
        "discharge_limit": 4.0,
        "charge_efficiency": 0.9,
        "discharge_efficiency": 0.8,
    }
    return Store(owner="store", carrier="medium_voltage", **(plain | changed))


def walked(kept, level, *, charge=0.0, discharge=0.0, hours=(1.0,)):
    hours = np.array(hours)
    into, out = (np.broadcast_to(power, hours.shape) for power in (charge, discharge))
    return integrate_storage(kept, level, into, discharge=out, durations=hours)


@pytest.mark.parametrize(
    ("level", "orders", "put", "got", "ends"),
    [
        (5.0, {"charge": 2.0}, 2.0, 0.0, 6.8),  # 5 + 0.9 x 2
        (5.0, {"discharge": 2.0}, 0.0, 2.0, 2.5),  # 5 - 2 / 0.8
        (5.0, {"charge": 9.0}, 4.0, 0.0, 8.6),  # no more than rated: 5 + 0.9 x 4
        (8.1, {"charge": 4.0}, 1.0, 0.0, 9.0),  # room for 0.9 MWh, of which 1 MWh goes in
        (9.0, {"charge": 4.0}, 0.0, 0.0, 9.0),
        (2.6, {"discharge": 4.0}, 0.0, 1.28, 1.0),  # 1.6 MWh above the low give 0.8 x 1.6
        (0.5, {"discharge": 4.0}, 0.0, 0.0, 0.5),  # below its window it gives nothing
        (0.5, {"charge": 1.0}, 1.0, 0.0, 1.4),  # but may be filled
    ],
)
def test_store_keeps_its_window_and_rating(level, orders, put, got, ends):
    into, out, levels = walked(store(), level, **orders)
    assert (into[0], out[0], levels[-1]) == pytest.approx((put, got, ends))
    assert levels[0] == level


def test_store_losses_by_hand():
    """Proves: 0.1 of 2 MW going in, 0.25 of 1 MW coming out, 0.1 of 5 MWh in an hour."""
    kept, hour = store(standing_loss=0.1), np.ones(1)
    into, out, levels = walked(kept, 5.0, charge=2.0, discharge=1.0)
    loss = storage_losses(kept, into, discharge=out, levels=levels, durations=hour)
    assert loss == pytest.approx([0.2 + 0.25 + 0.5])
    assert into - out - loss == pytest.approx(np.diff(levels))


def test_standing_loss_by_the_hour():
    _, _, levels = walked(store(standing_loss=0.1), 8.0, hours=(1.0, 2.0))
    assert levels == pytest.approx([8.0, 7.2, 7.2 * 0.81])


def test_power_falls_towards_the_end_of_the_window():
    # 0.09 MWh of room let (0.09 / 0.9) MWh in over 0.2 h: 0.5 MW, and after each minute the
    # room is smaller by 0.9 x 0.5 / 60 of 0.09: by a twelfth
    into, _, levels = walked(store(), 8.91, charge=4.0, hours=[MINUTE] * 3)
    assert into == pytest.approx(0.5 * (11 / 12) ** np.arange(3))
    assert levels[-1] == pytest.approx(9.0 - 0.09 * (11 / 12) ** 3)


def test_lossless_store_does_not_depend_on_step_length():
    _, _, whole = walked(store(), 5.0, charge=2.0, hours=(1.0,))
    _, _, parts = walked(store(), 5.0, charge=2.0, hours=[0.25] * 4)
    assert parts[-1] == pytest.approx(whole[-1])


def plant(*, lag=0.0, share=0.0):
    """Return what a walk wants of a plant: 2 MWh a kelvin, held at 20 degC."""
    return SimpleNamespace(
        supply_temperature=20.0,
        loop=SimpleNamespace(heat_capacity=2.0, valve_lag=3600.0 * lag, supply_share=share),
    )


def circled(load, *, hours=1.0, base=100.0, rise=0.0, start=20.0, output=0.0, lag=0.0):
    walked = piped(load, hours=hours, base=base, rise=rise, start=(start, output), lag=lag)
    assert (walked.hall_supply == walked.supply).all()
    return walked.plant_output, walked.supply


def piped(load, *, hours=1.0, base=100.0, rise=0.0, start=(20.0, 0.0), lag=0.0, pipes=None):
    """Return the walk of a loop of which half may be on its way to the halls."""
    load = np.atleast_1d(np.asarray(load, float))
    whole = np.full(load.shape, 1.0)
    ceiling = CoolingCapacity(
        chiller_capacity=0.0 * whole,
        cooler_capacity_at_set_point=base * whole,
        cooler_capacity_slope=rise * whole,
    )
    return integrate_loop(
        plant(lag=lag, share=0.0 if pipes is None else 0.5),
        load,
        ceiling,
        durations=np.full(load.shape, hours),
        start=start,
        transport=pipes,
    )


def on_its_way(count, *, rate, temperature):
    return LoopTransport(
        capacity_rate=np.full(count, rate), initial_hall_supply_temperature=temperature
    )


def test_warm_water_arrives_later():
    # 1 MWh/K near the plant and 1 on its way, 2 MW/K of flow, an hour. The plant takes nothing:
    # T = (20 + g 20 + 3) / (1 + g) with g = 2 x 1 / (1 + 2) = 2/3: 21.8; A = (20 + 2 x 21.8) / 3
    pipes = on_its_way(1, rate=2.0, temperature=20.0)
    _, supply, arriving, _ = piped([3.0], base=0.0, pipes=pipes)
    assert (supply[-1], arriving[-1]) == pytest.approx((21.8, 21.2))
    # and of the 3 MWh nothing is lost
    assert (supply[-1] - 20.0) + (arriving[-1] - 20.0) == pytest.approx(3.0)


def test_short_step_arrives_after_the_delay():
    # the supply is 5 K warmer from the start; transit 1 / 6 h; after as long 1 - 1/e has come
    count = 600
    pipes = on_its_way(count, rate=6.0, temperature=20.0)
    load = np.zeros(count)
    start = 25.0, 0.0
    _, supply, arriving, _ = piped(load, hours=1 / 6 / count, base=0.0, start=start, pipes=pipes)
    # both halves of the water meet at 22.5 with twice the speed: 20 + 2.5 (1 - e^-2)
    assert arriving[-1] == pytest.approx(20.0 + 2.5 * (1.0 - np.exp(-2.0)), abs=0.01)
    assert supply + arriving == pytest.approx(np.full(count + 1, 45.0))


def test_sufficient_plant_holds_its_supply_temperature():
    pipes = on_its_way(50, rate=6.0, temperature=26.0)
    output, supply, arriving, _ = piped([3.0] * 50, start=(20.0, 3.0), pipes=pipes)
    assert supply == pytest.approx(np.full(51, 20.0))
    assert arriving[-1] == pytest.approx(20.0)
    # what the warm water brought, 6 MWh, was taken too
    assert output.sum() == pytest.approx(150.0 + 6.0)


def test_long_step_equals_many_short_ones():
    pipes = on_its_way(1, rate=6.0, temperature=20.0)
    whole = piped([3.0], hours=1e6, base=1.0, rise=1.0, pipes=pipes)
    assert whole.supply[-1] == pytest.approx(22.0, abs=1e-4)
    assert whole.hall_supply[-1] == pytest.approx(22.0, abs=1e-4)


@pytest.mark.parametrize(
    ("situation", "output", "ends"),
    [
        ({}, 3.0, 20.0),  # what comes in goes out
        ({"start": 21.0}, 5.0, 20.0),  # and the 2 MWh that the water is too warm
        ({"start": 18.0}, 0.0, 19.5),  # too cold by 4 MWh: 3 MWh of load warm it by 1.5 K
        ({"base": 1.0}, 1.0, 21.0),  # 2 MW too many for an hour: 1 K
        # warmer water gives 1 MW a kelvin more: T = 20 + (3 - 1 - (T - 20)) / 2
        ({"base": 1.0, "rise": 1.0}, 5 / 3, 20 + 2 / 3),
        # in a long step the water settles where the plant can: 1 + (T - 20) = 3
        ({"base": 1.0, "rise": 1.0, "hours": 1e9}, 3.0, 22.0),
        # a valve of one hour goes 1 - 1/e of its way from 1 to 3 MW, and 1/e of it in the mean
        ({"output": 1.0, "lag": 1.0}, 1 + 2 / np.e, 21 - 1 / np.e),
        # and asks for the excess of 2 MWh over four lags: 3.5 MW
        ({"start": 21.0, "output": 3.5, "lag": 1.0}, 3.5, 20.75),
    ],
)
def test_loop_stays_at_its_set_point_within_capacity(situation, output, ends):
    outputs, temperatures = circled(3.0, **situation)
    assert (outputs[0], temperatures[-1]) == pytest.approx((output, ends))


def test_overloaded_loop_warms_continuously():
    _, temperatures = circled([6.0, 6.0, 6.0], base=4.0)
    assert temperatures == pytest.approx([20.0, 21.0, 22.0, 23.0])


def test_water_stores_heat_that_the_plant_leaves():
    load = np.random.default_rng(4).uniform(0.0, 10.0, 50)
    outputs, temperatures = circled(load, hours=0.1, base=6.0, rise=0.3, start=23.0, lag=0.2)
    kept = 2.0 * np.diff(temperatures)
    np.testing.assert_allclose(0.1 * (load - outputs), kept, atol=1e-12)


def test_slow_valve_overshoots_once():
    # critically damped: after a step of the load the water warms and comes back, not below
    _, temperatures = circled(np.full(240, 5.0), hours=MINUTE, output=3.0, start=20.0, lag=0.1)
    above = temperatures - 20.0
    assert above.max() > 0.05
    assert above.min() > -0.05 * above.max()
    assert above[-1] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("lag", [60.0, 120.0])
def test_steps_of_a_minute_follow_the_equation_of_a_slow_valve(lag):
    """Proves: after a step from 3 to 5 MW the water warms by as much as the valve's equation says.

    tau dy/dt = q + K (T - 20) / (4 tau) - y and K dT/dt = q - y, with tau in hours, K 2 MWh/K.
    """
    tau = lag / 3600.0

    def change(_, state):
        above, output = state
        return (5.0 - output) / 2.0, (5.0 + 2.0 * above / (4.0 * tau) - output) / tau

    edges = np.arange(121) * MINUTE
    true = solve_ivp(change, (0.0, edges[-1]), (0.0, 3.0), t_eval=edges, rtol=1e-9, atol=1e-9).y
    walked = piped(np.full(120, 5.0), hours=MINUTE, start=(20.0, 3.0), lag=tau)
    top = true[0].max()
    assert top < walked.supply.max() - 20.0 < 1.1 * top
    np.testing.assert_allclose(walked.supply - 20.0, true[0], atol=0.12 * top)
    np.testing.assert_allclose(walked.valve_output, true[1], atol=0.12 * 2.0)


def test_settled_valve_cools_the_load():
    """Proves: in a quarter-hour a valve of two minutes brings back what it was late with."""
    walked = piped([5.0] * 2, hours=0.25, start=(20.0, 3.0), lag=120.0 / 3600.0)
    assert walked.supply == pytest.approx([20.0] * 3, abs=1e-3)


def _air(temperature, wet_bulb_below=3.0):
    air = np.array(temperature)
    return Weather(
        air_temperature=air,
        wet_bulb_temperature=air - wet_bulb_below,
        humidity_ratio=np.full(air.shape, 0.005),
        air_pressure=np.full(air.shape, 101.3),
    )


def _plants(site="small"):
    """Return the warm and the chilled plant of a site."""
    return sorted(sites.load_site(site).machines_of(CoolingPlant), key=lambda p: -p.rated_cooling)


@pytest.mark.parametrize("air", [20.0, 30.0, 36.0, 37.5, 39.5, 41.0, 44.0, 50.0])
def test_capacity_bound_holds_at_any_temperature_and_weather(air):
    """Proves: also in air hotter than the set point of 38 degC, where the capacity there is 0."""
    warm, _ = _plants()
    weather, water = _air([air]), air + np.array([3.0, 5.0, 7.0])
    ceiling = CoolingCapacity.from_plant(warm, weather)
    line = ceiling.cooler_capacity_at_set_point + ceiling.cooler_capacity_slope * (
        water - warm.supply_temperature
    )
    exact = [warm.capacity(weather, float(one))[0] for one in water]
    np.testing.assert_allclose(line, exact, rtol=1e-4)
    assert ceiling.chiller_capacity == 0.0


def test_oversized_coolers_have_a_finite_capacity_line():
    """Proves: as many coolers as may be declared give water of the air's temperature, at any heat.

    Sensitivity: a rise without end, and no number at all where the air is at the set point.
    """
    warm, _ = _plants()
    rejection = warm.rejection.model_copy(update={"count": 1000})
    ceiling = CoolingCapacity.from_plant(
        warm.model_copy(update={"rejection": rejection}), _air([20.0, 38.0])
    )
    assert np.isfinite(ceiling.cooler_capacity_at_set_point).all()
    assert np.isfinite(ceiling.cooler_capacity_slope).all()
    assert np.isfinite(ceiling.plannable(warm)).all()


def test_only_coolers_gain_capacity_from_warmer_water():
    _, chilled = _plants()
    ceiling = CoolingCapacity.from_plant(chilled, _air([5.0, 30.0]))
    np.testing.assert_array_equal(
        ceiling.chiller_capacity, chilled.capacity(_air([5.0, 30.0]), 18.0)
    )
    assert (ceiling.cooler_capacity_slope > 0.0).all()
    assert (
        ceiling.select(slice(1, 2)).cooler_capacity_at_set_point
        == ceiling.cooler_capacity_at_set_point[1:]
    )
    dry = chilled.model_copy(update={"economiser_approach": None})
    assert (CoolingCapacity.from_plant(dry, _air([5.0])).cooler_capacity_slope == 0.0).all()


@pytest.mark.parametrize(("circuit", "site", "hot"), [(0, "rhine", 41.0), (1, "gallia", 29.0)])
def test_overloaded_plant_reaches_a_balance(circuit, site, hot):
    """Proves: water as warm as its coolers need, not thousands of degrees; in saturated air too."""
    plant = _plants(site)[circuit]
    count, weather = 48, _air([hot] * 48, wet_bulb_below=0.0)
    load = np.full(count, 0.8 * plant.rated_cooling)
    begin = plant.supply_temperature, 0.0
    output, supply, *_ = integrate_loop(
        plant,
        load,
        CoolingCapacity.from_plant(plant, weather),
        durations=np.ones(count),
        start=begin,
    )
    assert output[-1] == pytest.approx(load[-1], rel=1e-6)
    assert hot < supply[-1] < hot + 12.0


def test_hot_water_does_not_drive_pumps_beyond_rating():
    plant, _ = _plants("rhine")
    rate = plant.capacity_rate(np.array([0.5, 1.0, 2.5]) * plant.rated_cooling, _air([15.0] * 3))
    np.testing.assert_allclose(rate[1:], plant.rated_cooling / plant.temperature_range)
    assert rate[0] == pytest.approx(0.5 * rate[1])
