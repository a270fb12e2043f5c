"""The network of a site: nodes, loads, and overloads after the loss of one unit."""

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

import sites
from twin import initial_state, regular_axes, simulate
from twin.equipment.electrical_network import MediumVoltageNetwork, radial_network
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
def test_machine_load_equals_transformer_output(name):
    site = sites.load_site(name)
    result = run(site)
    total = sum(network_draws(site, result).values())
    given = result["transformer_output"].sum("transformer").to_numpy()
    assert total == pytest.approx(given, rel=1e-9)
    flow = network_load_flow(site, result)
    net = result["grid_import_power"] - result["grid_export_power"]
    assert (np.abs(flow["connection_power"] - net) < 0.01 * net).all()


def simplest(site, result):
    most = {name: float(draw.max()) for name, draw in network_draws(site, result).items()}
    return radial_network({"transformer_1": 1}, most)


def test_power_is_conserved(rhine, busy):
    flow = network_load_flow(rhine, busy)
    drawn = sum(network_draws(rhine, busy).values())
    balance = flow["connection_power"] - flow["network_loss"] - drawn
    assert float(np.abs(balance).max()) < 1e-6 * float(flow["connection_power"].max())


def test_infeasible_load_flow_is_reported(rhine, busy):
    weak = rhine.network.model_dump() | {"short_circuit_power": 300.0}
    network = MediumVoltageNetwork.model_validate(weak, context={"canonical": True})
    with pytest.raises(NetworkError, match=r"network, 2026-07-01T00:00.*\[infeasible\]"):
        network_load_flow(rhine.with_network(network), busy)


def test_machine_without_a_node_is_named(rhine, busy):
    bare = rhine.network.restricted_to(set(rhine.equipment) - {"ups_1"})
    with pytest.raises(NetworkError, match=r"\[network.feeds.ups_1\]"):
        network_load_flow(rhine.with_network(bare), busy)


def test_failed_machine_removes_its_feed(rhine):
    without = {k: v for k, v in rhine.equipment.items() if k != "wind_1"}
    assert "wind_1" not in rhine.with_equipment(without).network.feeds


def test_medium_voltage_machines(rhine):
    assert set(network_machines(rhine)) == {
        "ups_1", "warm_plant", "chilled_plant", "battery_1", "solar_1", "wind_1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"source": "north"}, "source names an unknown north"),
        ({"feeds": {"ups_1": {"nodes": {"north": 1.0}}}}, "feed of ups_1 names an unknown north"),
        ({"feeds": {"ups_1": {"nodes": {"west": 0.7}}}}, "shares above 0 that sum to 1"),
        ({"cables": {"one": NETWORK["cables"]["one"]}}, "no closed branch connects east"),
        ({"voltage_low": "1.2"}, "below 1"),
    ],
)
def test_invalid_networks_are_refused(change, words):
    with pytest.raises(ValidationError, match=words):
        MediumVoltageNetwork.model_validate(NETWORK | change)


def test_a_network_by_hand():
    network = MediumVoltageNetwork.model_validate(NETWORK)
    assert network.cables["one"].ends == ("connection", "west")
    assert list(network.branches) == ["one", "other"]


def test_simplest_network_has_one_redundant_cable():
    # sqrt(3) x 20 kV x 0.421 A = 14.58 MVA: 40 MW need three
    network = radial_network({"transformer_1": 2}, {"ups_1": 40.0})
    assert network.cables["feeder_ups_1"].count == 4
    assert network.transformers["transformer_1"].count == 2


def test_load_flow_results_are_declared_variables(rhine, busy):
    flow = network_load_flow(rhine, busy)
    assert flow["connection_reactive_power"].attrs["units"] == "Mvar"
    assert isinstance(flow, xr.Dataset)
