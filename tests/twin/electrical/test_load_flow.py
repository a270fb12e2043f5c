"""The network of a site: who stands where, what it carries, and what one lost unit overloads."""

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

import sites
from twin import initial_state, regular_axes, simulate
from twin.electrical.outages import breaches, outages, overloads
from twin.equipment.network import MediumVoltageNetwork, radial_network
from twin.errors import NetworkError
from twin.simulation.load_flow import network_draws, network_load_flow
from twin.site import network_machines
from twin.variables import tag_dataset

NETWORK = {
    "source": "connection",
    "nodes": {name: {"voltage": "20 kV"} for name in ("connection", "west", "east")},
    "cables": {
        name: {
            "ends": ends,
            "length": "1 km",
            "resistance": "0.1 ohm/km",
            "reactance": "0.1 ohm/km",
            "capacitance": "0.3 uF/km",
            "current": "400 A",
        }
        for name, ends in (("one", ["connection", "west"]), ("other", ["west", "east"]))
    },
    "transformers": {},
    "feeds": {"ups_1": {"nodes": {"west": 0.5, "east": 0.5}}},
}


def run(site, hours=4, utilisation=1.0):
    grid = regular_axes(np.datetime64("2026-07-01", "us"), hours, np.timedelta64(1, "h"))
    halls = [machine for machine in site.equipment.values() if machine.kind == "accelerators"]
    power = [h.idle_power + utilisation * (h.full_power - h.idle_power) for h in halls]
    battery = [machine.name for machine in site.equipment.values() if machine.kind == "battery"]
    values = {
        "air_temperature": ("time", np.full(hours, 24.0)),
        "relative_humidity": ("time", np.full(hours, 0.5)),
        "air_pressure": ("time", np.full(hours, 100.0)),
        "hall_power": (("time", "hall"), np.tile(power, (hours, 1))),
    }
    coords = {"hall": [hall.name for hall in halls]}
    if battery:
        values["battery_discharge"] = (("time", "battery"), np.full((hours, 1), 0.2))
        coords["battery"] = battery
    operation = tag_dataset(grid.assign(values).assign_coords(coords))
    return simulate(site, initial_state(site, "2026-07-01", level=0.9), operation)


@pytest.fixture(scope="module")
def rhine():
    return sites.load_site("rhine")


@pytest.fixture(scope="module")
def busy(rhine):
    return run(rhine)


@pytest.mark.parametrize("name", ["small", "rhine", "iberia", "gallia", "baltica"])
def test_the_machines_draw_what_the_transformers_give(name):
    site = sites.load_site(name)
    result = run(site)
    total = sum(network_draws(site, result).values())
    given = result["transformer_output"].sum("transformer").to_numpy()
    assert total == pytest.approx(given, rel=1e-9)
    flow = network_load_flow(site, result)
    net = result["grid_import_power"] - result["grid_export_power"]
    cables = flow["connection_power"] - net
    assert (np.abs(cables) < 0.01 * net).all()
    assert breaches(site.network or simplest(site, result), flow) == ()


def simplest(site, result):
    most = {name: float(draw.max()) for name, draw in network_draws(site, result).items()}
    return radial_network({"transformer_1": 1}, most)


def test_power_is_kept(rhine, busy):
    flow = network_load_flow(rhine, busy)
    drawn = sum(network_draws(rhine, busy).values())
    balance = flow["connection_power"] - flow["network_loss"] - drawn
    assert float(np.abs(balance).max()) < 1e-6 * float(flow["connection_power"].max())


def test_a_transformer_that_fails_hands_its_section_to_the_standby(rhine, busy):
    found = outages(rhine, busy)
    lost = found.sel(outage="main_1")
    before = network_load_flow(rhine, busy)["branch_loading"].max("time")
    assert float(before.sel(branch="standby")) < 0.01
    assert float(lost["branch_loading"].sel(branch="main_1")) == 0.0
    carried = float(lost["branch_loading"].sel(branch="standby"))
    assert carried == pytest.approx(float(before.sel(branch="main_1")), rel=0.01)
    assert float(lost["unserved_power"]) == 0.0
    assert overloads(rhine.network, found) == ()


def test_one_cable_of_five_leaves_its_load_to_four(rhine, busy):
    before = network_load_flow(rhine, busy)["branch_loading"].max("time").sel(branch="feeder_2")
    after = outages(rhine, busy)["branch_loading"].sel(outage="feeder_2", branch="feeder_2")
    assert float(after) == pytest.approx(1.25 * float(before), rel=0.002)


def test_without_couplers_an_outage_leaves_a_section_dark(rhine, busy):
    bare = rhine.network.model_dump()
    bare["cables"] = {k: v for k, v in bare["cables"].items() if not k.startswith("coupler")}
    bare["transformers"].pop("standby")
    bare["nodes"].pop("reserve")
    network = MediumVoltageNetwork.model_validate(bare, context={"canonical": True})
    site = rhine.with_network(network)
    found = outages(site, busy)
    dark = float(found["unserved_power"].sel(outage="main_2"))
    ups = network_draws(site, busy)["ups_1"].max()
    assert dark > 0.25 * ups
    first = overloads(network, found)[0]
    assert first.startswith("outage in main_2: ")
    assert first.endswith(" MW without supply")


def test_too_few_cables_are_overloaded(rhine, busy):
    thin = rhine.network.model_dump()
    thin["cables"]["feeder_1"]["count"] = 3
    network = MediumVoltageNetwork.model_validate(thin, context={"canonical": True})
    site = rhine.with_network(network)
    flow = network_load_flow(site, busy)
    (breach,) = breaches(network, flow)
    assert (breach.variable, breach.owner, breach.intervals) == ("branch_loading", "feeder_1", 4)
    # 3 x sqrt(3) x 20 kV x 421 A = 43.75 MVA for a quarter of the UPS, at power factor 0.99
    load = network_draws(site, busy)["ups_1"].max() / 4
    voltage = float(flow["node_voltage"].sel(node="power_room_1").min())
    assert breach.value == pytest.approx(load / 0.99 / 43.75 / voltage, rel=0.01)
    worst = overloads(network, outages(site, busy))[0]
    assert worst.startswith("outage in feeder_1: feeder_1 carries 1")


def test_what_no_voltage_carries_is_told(rhine, busy):
    weak = rhine.network.model_dump() | {"short_circuit_power": 300.0}
    network = MediumVoltageNetwork.model_validate(weak, context={"canonical": True})
    with pytest.raises(NetworkError, match=r"network, 2026-07-01T00:00.*\[infeasible\]"):
        network_load_flow(rhine.with_network(network), busy)


def test_a_machine_that_stands_nowhere_is_named(rhine, busy):
    bare = rhine.network.restricted_to(set(rhine.equipment) - {"ups_1"})
    with pytest.raises(NetworkError, match=r"\[network.feeds.ups_1\]"):
        network_load_flow(rhine.with_network(bare), busy)


def test_a_lost_machine_takes_its_feed_along(rhine):
    without = {k: v for k, v in rhine.equipment.items() if k != "wind_1"}
    assert "wind_1" not in rhine.with_equipment(without).network.feeds


def test_who_stands_on_medium_voltage(rhine):
    assert set(network_machines(rhine)) == {
        "ups_1", "warm_plant", "chilled_plant", "battery_1", "solar_1", "wind_1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"source": "north"}, "source names north"),
        ({"feeds": {"ups_1": {"nodes": {"north": 1.0}}}}, "feed of ups_1 names north"),
        ({"feeds": {"ups_1": {"nodes": {"west": 0.7}}}}, "shares above 0 that sum to 1"),
        ({"cables": {"one": NETWORK["cables"]["one"]}}, "no closed branch leads .* to east"),
        ({"voltage_low": "1.2"}, "below 1"),
    ],
)
def test_what_no_network_can_be(change, words):
    with pytest.raises(ValidationError, match=words):
        MediumVoltageNetwork.model_validate(NETWORK | change)


def test_a_network_by_hand():
    network = MediumVoltageNetwork.model_validate(NETWORK)
    assert network.cables["one"].ends == ("connection", "west")
    assert list(network.branches) == ["one", "other"]


def test_the_simplest_network_has_a_cable_more_than_it_needs():
    # sqrt(3) x 20 kV x 0.421 A = 14.58 MVA: 40 MW need three
    network = radial_network({"transformer_1": 2}, {"ups_1": 40.0})
    assert network.cables["feeder_ups_1"].count == 4
    assert network.transformers["transformer_1"].count == 2


def test_flows_have_words(rhine, busy):
    flow = network_load_flow(rhine, busy)
    assert flow["connection_reactive_power"].attrs["units"] == "Mvar"
    assert isinstance(flow, xr.Dataset)


def sections(site):
    """Return a site whose UPS stands on one transformer, and the battery on another like it."""
    bank = {"machine": "transformer_1", "high": "c", "high_voltage": "110 kV"}
    tie = {
        "ends": ["a", "b"],
        "closes_for": ["ta", "tb"],
        "length": "0.1 km",
        "resistance": "0.01 ohm/km",
        "reactance": "0.01 ohm/km",
        "capacitance": "0 uF/km",
        "current": "421 A",
    }
    low = {name: {**bank, "low": name[1], "low_voltage": "20 kV"} for name in ("ta", "tb", "td")}
    network = {
        "source": "c",
        "short_circuit_power": "50 GVA",
        "nodes": {"c": {"voltage": "110 kV"}, **{n: {"voltage": "20 kV"} for n in ("a", "b", "d")}},
        "transformers": low,
        "cables": {"tie": tie},
        "feeds": {
            name: {"nodes": {"b" if name == "battery_1" else "a" if name == "ups_1" else "d": 1.0}}
            for name in network_machines(site)
        },
    }
    return site.with_network(MediumVoltageNetwork.model_validate(network))


def test_the_worst_interval_of_an_outage_need_not_be_the_worst_of_all_in_service():
    """Proves: one section has its most, the other, then both 0.9 of theirs; `tb` carries both.

    That is the worst without `ta`, and no branch has its most then with all in service.
    Sensitivity: the most of one section alone.
    """
    site = sections(sites.load_site("small"))
    grid = regular_axes(np.datetime64("2026-07-01", "us"), 4, np.timedelta64(15, "m"))
    full = [hall.full_power for hall in site.equipment.values() if hall.kind == "accelerators"]
    calm = {"air_temperature": 15.0, "relative_humidity": 0.5, "air_pressure": 101.0}
    values = {name: ("time", np.full(4, value)) for name, value in calm.items()}
    values["hall_power"] = (("time", "hall"), np.outer([1.0, 0.2, 0.9, 0.2], full))
    values["battery_charge"] = (("time", "battery"), np.array([[0.0], [0.8], [0.72], [0.0]]))
    values["renewable_used_power"] = (
        ("time", "renewable"),
        np.outer([0.0, 0.0, 0.44, 0.6], np.ones(2)),
    )
    coords = {"hall": ["hall_1", "hall_2"], "battery": ["battery_1"]}
    coords["renewable"] = ["solar_1", "wind_1"]
    operation = tag_dataset(grid.assign(values).assign_coords(coords))
    result = simulate(site, initial_state(site, "2026-07-01", level=0.0), operation)
    draws = network_draws(site, result)
    both = draws["ups_1"] + draws["battery_1"]
    loading = outages(site, result)["branch_loading"].sel(outage="ta", branch="tb")
    alone = network_load_flow(site, result)["branch_loading"].sel(branch="tb").to_numpy()
    assert both.argmax() == 2
    assert float(loading) == pytest.approx(both[2] / draws["battery_1"][1] * alone[1], rel=0.02)
