"""The simulation: splitting and order change nothing, steps converge, invalid input is refused."""

import numpy as np
import pytest

import sites
from tests.support.runs import ordered, random_run, steady, total
from twin import variables
from twin.equipment import Battery, ChilledWaterTank, CoolingPlant, ITHall
from twin.errors import IssueCode, StateError, UnitError
from twin.simulation import state
from twin.simulation.simulate import settled_state, simulate


def sums(result):
    names = ("grid_import_power", "grid_export_power", "facility_power", "it_power", "water_use")
    return np.concatenate([total(result, name) for name in names])


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_halving_the_step_halves_the_error(share):
    # the implicit step is of first order: each halving leaves half of what the last one moved
    site = lagging(sites.load_site("small"), lag=600.0)
    site = piped(site, share) if share else site
    reached = [swung(site, minutes) for minutes in (8, 4, 2, 1)]
    moved = np.abs(np.diff(reached))
    assert moved[0] > 0.01
    assert (moved[1:] < 0.65 * moved[:-1]).all()


def piped(site, share=0.4):
    """Return a site with some of its warm water on its way to the halls."""
    plant = site.equipment["warm_plant"]
    loop = plant.loop.model_copy(update={"supply_share": share})
    changed = plant.model_copy(update={"loop": loop})
    return site.with_equipment({**site.equipment, plant.name: changed})


def test_run_may_be_cut_anywhere():
    site = piped(lagging(sites.load_site("small"), lag=0.0))
    operation = steady(site, count=20, minutes=1)
    start = state.initial_state(site)
    start["facility_supply_temperature"] += 3.0
    whole = simulate(site, start, operation)
    arriving = whole["facility_arriving_temperature"].sel(circuit="warm_plant").to_numpy()
    supply = whole["facility_supply_temperature"].sel(circuit="warm_plant").to_numpy()
    assert (arriving[1:6] > supply[1:6] + 0.1).all()
    first = simulate(site, start, operation.isel(time=slice(0, 3), instant=slice(0, 4)))
    temperatures = ("facility_supply_temperature", "facility_arriving_temperature")
    stocks = {name: first[name].isel(instant=-1, drop=True) for name in temperatures}
    output = first["cooling_plant_output"].isel(time=-1, drop=True)
    then = start.assign(stocks | {"cooling_plant_output": output})
    rest = simulate(site, then, operation.isel(time=slice(3, 20), instant=slice(3, 21)))
    for name in ("chip_temperature", "facility_power", "cooling_load"):
        np.testing.assert_allclose(rest[name], whole[name][3:], rtol=1e-12)


def test_chips_follow_the_water_that_arrives():
    plain = lagging(sites.load_site("small"), lag=0.0)
    start = state.initial_state(plain)
    start["facility_supply_temperature"] += 3.0
    operation = steady(plain, count=4, minutes=1)
    near, far = (simulate(s, start, operation)["chip_temperature"] for s in (plain, piped(plain)))
    assert (far[1:] > near[1:] + 0.1).all()


def test_chips_are_as_warm_as_their_load():
    """Proves: idle chips are cooler than busy ones. Sensitivity: always that of full load."""
    site = sites.load_site("small")
    operation = steady(site, count=3)
    for index, name in enumerate(("idle_power", "full_power")):
        operation["hall_power"].values[index] = [getattr(h, name) for h in site.machines_of(ITHall)]
    operation["hall_power"].values[2] = 0.0  # nothing turned on: as warm as the coolant
    result = simulate(site, settled_state(site, operation), operation)
    coolant = result["technology_supply_temperature"].squeeze("cdu")
    idle, full, off = (result["chip_temperature"] - coolant).isel(hall=0).to_numpy()
    assert 0.0 < idle < 0.3 * full
    assert off == 0.0
    reference = (result["full_load_chip_temperature"] - coolant).isel(hall=0).to_numpy()
    assert reference[1] == full
    assert (reference[[0, 2]] > full).all()  # a plate with less flow has a higher resistance


def test_a_step_of_load_warms_the_supply_water_of_every_site():
    """Proves: valves lag on each declared circuit. Sensitivity: without lag it warmed by 0.00 K."""
    for name in (*sites.site_names(), *sites.site_names("validation")):
        site = sites.load_site(name)
        operation = steady(site, count=3, minutes=1)
        operation["hall_power"].values[0] *= 0.5  # then a step to the whole load
        result = simulate(site, settled_state(site, operation), operation)
        for plant in site.machines_of(CoolingPlant):
            supply = result["facility_supply_temperature"].sel(circuit=plant.name)
            loads = result["cooling_load"].sel(circuit=plant.name).to_numpy()
            step, heat_capacity = loads[1] - loads[0], plant.loop.heat_capacity
            # without a response of the valve it would warm by step / 60 / heat_capacity
            assert plant.loop.valve_lag == 120.0
            assert 0.5 < float(supply[2] - supply[1]) / (step / 60.0 / heat_capacity) < 1.0


def lagging(site, *, lag):
    """Return a site whose loops all have this valve lag. [s]"""
    machines = dict(site.equipment)
    for plant in site.machines_of(CoolingPlant):
        loop = plant.loop.model_copy(update={"valve_lag": lag})
        machines[plant.name] = plant.model_copy(update={"loop": loop})
    return site.with_equipment(machines)


def swung(site, minutes):
    """Return the warm supply after two hours of rising load, stepped by some minutes."""
    count = 120 // minutes
    operation = steady(site, count=count, minutes=minutes)
    rising = np.linspace(0.5, 1.5, 120).reshape(count, minutes).mean(axis=1)
    operation["hall_power"].values *= rising[:, None]
    result = simulate(site, state.initial_state(site), operation)
    return float(result["facility_supply_temperature"].sel(circuit="warm_plant")[-1])


def halved(machine, names):
    """Return two machines, each with half of some parameters."""
    halves = {name: getattr(machine, name) / 2 for name in names}
    return {
        f"{machine.name}{end}": machine.model_copy(update=halves | {"name": f"{machine.name}{end}"})
        for end in "ab"
    }


def test_splitting_a_store_in_two_changes_nothing():
    site = sites.load_site("small")
    tank, battery = site.machines_of(ChilledWaterTank)[0], site.machines_of(Battery)[0]
    machines = {
        n: m for n, m in site.equipment.items() if not isinstance(m, ChilledWaterTank | Battery)
    }
    machines |= halved(tank, ("volume", "power")) | halved(battery, ("capacity", "power"))
    split = site.with_equipment(machines)
    whole_orders = ordered(steady(site), "tank_charge", "tank", tank_1=0.2)
    whole_orders = ordered(whole_orders, "battery_discharge", "battery", battery_1=0.5)
    half_orders = ordered(steady(split), "tank_charge", "tank", tank_1a=0.1, tank_1b=0.1)
    half_orders = ordered(
        half_orders, "battery_discharge", "battery", battery_1a=0.25, battery_1b=0.25
    )
    whole = simulate(site, state.initial_state(site), whole_orders)
    halves = simulate(split, state.initial_state(split), half_orders)
    assert total(whole, "tank_charge")[0] == pytest.approx(0.2)
    np.testing.assert_allclose(sums(halves), sums(whole), atol=1e-12)
    np.testing.assert_allclose(halves["tank_level"].sum("tank"), whole["tank_level"].sum("tank"))


@pytest.mark.parametrize(
    ("machine", "doubled", "each"),
    [
        ("transformer_1", {"count": 2}, ("rating", "no_load_loss", "load_loss")),
        ("cdu_1", {"count": 6}, ("rated_heat", "pump_power")),
    ],
)
def test_unit_size_within_a_bank_changes_nothing(machine, doubled, each):
    site = sites.load_site("small")
    bank = site.equipment[machine]
    finer = {name: getattr(bank, name) / 2 for name in each}
    split = site.with_equipment(
        {**site.equipment, machine: bank.model_copy(update=finer | doubled)}
    )
    whole = simulate(site, state.initial_state(site), steady(site))
    halves = simulate(split, state.initial_state(split), steady(split))
    np.testing.assert_allclose(sums(halves), sums(whole), rtol=1e-12)


def test_splitting_a_hall_in_two_changes_nothing():
    site = sites.load_site("small")
    machines = {n: m for n, m in site.equipment.items() if n != "hall_2"}
    hall = site.equipment["hall_2"]
    for end in "ab":
        machines[f"hall_2{end}"] = hall.model_copy(update={"name": f"hall_2{end}", "racks": 7})
    split = site.with_equipment(machines)
    whole = simulate(site, state.initial_state(site), steady(site))
    halves = simulate(split, state.initial_state(split), steady(split))
    np.testing.assert_allclose(sums(halves), sums(whole), rtol=1e-12)


def test_order_of_machines_changes_no_total():
    site = sites.load_site("small")
    start, operation = random_run(site, 3)
    turned = site.with_equipment(dict(reversed(site.equipment.items())))
    forth = simulate(site, start, operation)
    back = simulate(turned, start.isel(circuit=[1, 0]), operation)
    np.testing.assert_allclose(sums(back), sums(forth), rtol=1e-12)


def test_own_power_reduces_import_and_not_consumption():
    site = sites.load_site("small")
    without = simulate(site, state.initial_state(site), steady(site))
    operation = ordered(steady(site), "renewable_used_power", "renewable", solar_1=0.1, wind_1=0.2)
    own = simulate(site, state.initial_state(site), operation)
    saved = total(without, "grid_import_power") - total(own, "grid_import_power")
    spared = total(without, "transformer_loss") - total(own, "transformer_loss")
    # 0.3 MW at the bus spare the transformer some loss besides
    np.testing.assert_allclose(saved, 0.3 + spared, atol=1e-12)
    np.testing.assert_allclose(
        total(own, "facility_power"), total(without, "facility_power") - spared, atol=1e-12
    )


def test_surplus_power_is_exported():
    site = sites.load_site("small")
    operation = ordered(
        steady(site, share=0.1), "renewable_used_power", "renewable", solar_1=0.4, wind_1=1.0
    )
    result = simulate(site, state.initial_state(site), operation)
    assert (total(result, "grid_export_power") > 0.1).all()
    assert (total(result, "grid_import_power") == 0.0).all()


def test_hotter_day_takes_more_power():
    site = sites.load_site("small")
    powers = [
        float(
            simulate(site, state.initial_state(site), steady(site, air=air))[
                "facility_power"
            ].mean()
        )
        for air in (5.0, 20.0, 35.0)
    ]
    assert powers[0] < powers[1] < powers[2]


def test_every_result_has_unit_and_labels():
    site = sites.load_site("small")
    start, operation = random_run(site, 1)
    result = simulate(site, start, operation)
    variables.check_variables(result, *map(str, result.data_vars))
    assert result["chip_temperature"].dims == ("time", "hall")
    assert result["tank_level"].dims == ("instant", "tank")
    assert list(result["renewable"].to_numpy()) == ["solar_1", "wind_1"]


@pytest.mark.parametrize("nonsense", [np.nan, np.inf, -0.1])
def test_invalid_orders_are_refused_with_machine_and_time(nonsense):
    site = sites.load_site("small")
    operation = steady(site)
    operation["hall_power"][3, 1] = nonsense
    with pytest.raises(StateError, match=r"hall_power, hall_2.*2026-07-01T00:45") as refused:
        simulate(site, state.initial_state(site), operation)
    assert len(refused.value.issues) == 1


@pytest.mark.parametrize("ratio", [3.01, 5.0])
def test_power_beyond_that_of_all_racks_is_refused(ratio):
    """Proves: 5 times full load is an error. Sensitivity: only 10 times was one."""
    site = sites.load_site("small")
    with pytest.raises(StateError) as refused:
        simulate(site, state.initial_state(site), steady(site, share=ratio))
    found = [(one.code, one.location) for one in refused.value.issues]
    locations = [f"operation, hall_power, hall_{n}" for n in (1, 2)]
    assert found == [(IssueCode.OUT_OF_RANGE, location) for location in locations]


def test_battery_goes_one_way_at_a_time():
    """Proves: 0.8 MW each way is refused, by machine and time; in turn 0.4 MW each is possible.

    Sensitivity: both were computed, and the battery only lost energy.
    """
    site = sites.load_site("small")
    operation = ordered(steady(site), "battery_charge", "battery", battery_1=0.8)
    operation["battery_charge"][:3] = 0.4
    operation = ordered(operation, "battery_discharge", "battery", battery_1=0.8)
    operation["battery_discharge"][:3] = 0.4
    with pytest.raises(StateError) as refused:
        simulate(site, state.initial_state(site), operation)
    (issue,) = refused.value.issues
    assert issue.code is IssueCode.INCONSISTENT
    assert issue.location == "operation, battery_1, 2026-07-01T00:45Z"
    simulate(site, state.initial_state(site), operation.isel(time=slice(3), instant=slice(4)))


def test_missing_hall_is_refused_by_name():
    site = sites.load_site("small")
    with pytest.raises(StateError, match="hall_2"):
        simulate(site, state.initial_state(site), steady(site).sel(hall=["hall_1"]))


def test_halls_without_names_are_refused():
    site = sites.load_site("small")
    with pytest.raises(StateError, match="hall_1"):
        simulate(site, state.initial_state(site), steady(site).drop_vars("hall"))


@pytest.mark.parametrize("unit", ["kW", None])
def test_wrong_unit_is_refused(unit):
    site = sites.load_site("small")
    operation = steady(site)
    operation["hall_power"].attrs["units"] = unit
    with pytest.raises(UnitError, match="hall_power"):
        simulate(site, state.initial_state(site), operation)


def test_omitted_orders_are_zero():
    site = sites.load_site("small")
    bare = simulate(site, state.initial_state(site), steady(site))
    resting = ordered(steady(site), "battery_charge", "battery", battery_1=0.0)
    np.testing.assert_array_equal(
        sums(simulate(site, state.initial_state(site), resting)), sums(bare)
    )
