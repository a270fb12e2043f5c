"""The first law: energy closes at every node of random sites, transients included."""

from dataclasses import replace

import numpy as np
import pytest

import sites
from tests.support.random_sites import random_site
from tests.support.runs import random_run, steady, total
from tests.support.seeds import seeds
from twin.equipment import CoolingPlant, ITHall, UpsBank
from twin.simulation import engine, state
from twin.simulation.simulate import simulate

SEEDS = seeds(range(200), quick=3)


@pytest.mark.parametrize("seed", SEEDS)
def test_energy_closes_at_every_node_of_a_busy_site(seed):
    site = random_site(seed)
    start, operation = random_run(site, seed)
    result = simulate(site, start, operation)
    scale = 1e-6 * site.grid_connection.import_limit
    nodes = balances(site, result)
    assert nodes
    for node, (gained, spent) in nodes.items():
        np.testing.assert_allclose(gained, spent, rtol=0.0, atol=scale, err_msg=node)
    assert result["closure"].max() < 1e-6


@pytest.mark.parametrize("store", ["battery_1", "tank_1"])
def test_level_inconsistent_with_its_flows_is_found(store, monkeypatch):
    """Proves: 0.01 MWh that come from nowhere in a quarter-hour are 0.04 MW of what is gained.

    Sensitivity: nothing, where what is charged is counted as kept.
    """
    site = sites.load_site("small")
    real = engine.integrate_storage

    def generous(which, *args, **more):
        into, out, levels = real(which, *args, **more)
        return into, out, levels + (which.owner == store) * 0.01 * np.arange(len(levels))

    monkeypatch.setattr(engine, "integrate_storage", generous)
    operation = steady(site, count=1)
    result = simulate(site, state.initial_state(site, level=0.5), operation)
    gained = total(result, "grid_import_power") + total(result, "renewable_used_power")
    assert result["closure"].to_numpy() == pytest.approx(0.04 / gained, rel=1e-3)


def balances(site, result):
    """Return what enters and what leaves every node of a run, from its own flows."""

    def sum_of(*names):
        return sum(total(result, name) for name in names)

    share = site.machines_of(ITHall)[0].liquid_share
    asked = cooling(site, result, "cooling_load")
    net = sum_of("grid_import_power") - sum_of("grid_export_power")
    return {
        "rack": (sum_of("cdu_output") / share, sum_of("hall_power")),
        "air": (
            sum_of("hall_air_output"),
            (1.0 - share) * sum_of("hall_power") + sum_of("distribution_loss"),
        ),
        "critical": (
            sum_of("ups_output"),
            sum_of("hall_power", "distribution_loss", "cdu_pump_power", "hall_air_fan_power"),
        ),
        "warm": (
            asked["warm"] + sum_of("heat_reuse_source_heat"),
            sum_of("cdu_output", "cdu_pump_power"),
        ),
        "heat": (sum_of("heat_reuse_draw", "heat_reuse_source_heat"), sum_of("heat_reuse_power")),
        "chilled": (
            asked["chilled"] + sum_of("tank_discharge"),
            sum_of("hall_air_output", "hall_air_fan_power", "ups_loss", "tank_charge"),
        ),
        "medium voltage": (
            bus(result) + sum_of("genset_output", "renewable_used_power", "battery_discharge"),
            sum_of("ups_output", "ups_loss", "cooling_plant_draw", "battery_charge")
            + sum_of("heat_reuse_draw"),
        ),
        "grid": (net, sum_of("transformer_output", "transformer_loss")),
        "busbar": (
            sum_of("transformer_output"),
            bus(result) + sum_of("switchgear_loss"),
        ),
        "site": (
            net + sum_of("renewable_used_power", "genset_fuel"),
            left_behind(site, result) + sum_of("heat_reuse_power"),
        ),
    } | loops(site, result)


def bus(result):
    """Return what the medium-voltage bus has from the connection, through switchgear or without."""
    through = "switchgear_output" if "switchgear_output" in result else "transformer_output"
    return total(result, through)


def cooling(site, result, name):
    """Return a flow of the cooling plants by the circuit that they serve."""
    return {
        plant.serves: result[name].sel(circuit=plant.name).to_numpy()
        for plant in site.machines_of(CoolingPlant)
    }


def loops(site, result):
    """Return heat in, and heat out or kept, of the water of each circuit."""
    found = {}
    for plant in site.machines_of(CoolingPlant):
        kept = kept_by(plant, result)
        asked, output, draw, fans = (
            result[name].sel(circuit=plant.name).to_numpy()
            for name in (
                "cooling_load",
                "cooling_plant_output",
                "cooling_plant_draw",
                "cooling_plant_fan_power",
            )
        )
        rejected = result["cooling_plant_rejected_heat"].sel(circuit=plant.name).to_numpy()
        found[f"loop of {plant.name}"] = asked, output + kept
        found[f"sky over {plant.name}"] = output + draw - fans, rejected
    return found


def left_behind(site, result):
    """Return the heat that leaves the site, and what its stores and its water keep or lose."""
    fans = total(result, "cooling_plant_fan_power")
    heat = total(result, "cooling_plant_rejected_heat") + fans + total(result, "transformer_loss")
    heat += total(result, "switchgear_loss")
    heat += total(result, "genset_fuel") - total(result, "genset_output")
    stores = total(result, "battery_charge") - total(result, "battery_discharge")
    stores -= total(result, "tank_charge") - total(result, "tank_discharge")
    return heat + stores + sum(kept_by(plant, result) for plant in site.machines_of(CoolingPlant))


def kept_by(plant, result):
    """Return the heat that warms the water of a circuit, at the plant and on its way."""
    supply = result["facility_supply_temperature"].sel(circuit=plant.name).to_numpy()
    water = supply
    if "facility_arriving_temperature" in result:
        arriving = result["facility_arriving_temperature"].sel(circuit=plant.name).to_numpy()
        share = plant.loop.supply_share
        water = (1.0 - share) * supply + share * arriving
    return plant.loop.heat_capacity * np.diff(water) / result["duration"].to_numpy()


class Fountain(UpsBank):
    """A machine that gives a tenth more than it draws."""

    def relations(self):
        (convert,) = super().relations()

        def physics(output, weather):
            flows = convert.flows_at_output(output, weather)
            draws = {**flows.inputs, "medium_voltage": 0.9 * flows.inputs["medium_voltage"]}
            return replace(flows, inputs=draws)

        return (replace(convert, flows_at_output=physics),)


def test_created_energy_shows_in_the_closure():
    site = sites.load_site("small")
    fountain = Fountain.model_construct(**dict(site.equipment["ups_1"]))
    broken = site.with_equipment({**site.equipment, "ups_1": fountain})
    assert simulate(broken, state.initial_state(broken), steady(broken))["closure"].min() > 0.05


def test_levels_follow_from_charge_and_discharge():
    site = random_site(5)
    start, operation = random_run(site, 5)
    result = simulate(site, start, operation)
    hours = result["duration"].to_numpy()
    assert site.stores
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        level, put, got = (
            result[f"{kind}_{role}"].sel({kind: store.owner}).to_numpy()
            for role in ("level", "charge", "discharge")
        )
        kept = level[:-1] * (1.0 - store.standing_loss) ** hours
        gained = store.charge_efficiency * put - got / store.discharge_efficiency
        np.testing.assert_allclose(level[1:], kept + hours * gained, atol=1e-9)
