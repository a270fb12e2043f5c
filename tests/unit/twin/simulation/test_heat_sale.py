"""Heat reuse in the twin: limited by order, network demand and available heat."""

import numpy as np
import pytest

from sites.checks import site_issues
from tests.support.heat_pump_site import heated
from tests.support.runs import ordered, steady
from twin.errors import StateError
from twin.reporting.indicators import indicators
from twin.simulation import state
from twin.simulation.simulate import simulate

HUNGRY = {"rated_heat": "5 MW", "contract_power": "5 MW", "base_share": 1.0}
"""A pump to a network that would take more heat than there is."""


def run(site, heat, *, share=0.6, air=-10.0):
    operation = steady(site, share=share, air=air)
    if heat is not None:
        operation = ordered(operation, "heat_reuse_power", "heat_reuse", pump=heat)
    return simulate(site, state.initial_state(site), operation)


def last(result, name, **label):
    return float((result[name].sel(label) if label else result[name])[-1])


def test_ordered_heat_is_sold_and_relieves_the_plant():
    site = heated()
    without, sold = run(site, None), run(site, 0.8)
    assert last(without, "heat_reuse_power", heat_reuse="pump") == 0.0
    assert last(sold, "heat_reuse_power", heat_reuse="pump") == pytest.approx(0.8)
    power = last(sold, "heat_reuse_draw", heat_reuse="pump")
    lighter = last(without, "cooling_load", circuit="warm_plant") - last(
        sold, "cooling_load", circuit="warm_plant"
    )
    assert lighter == pytest.approx(0.8 - power)
    more = last(sold, "facility_power") - last(without, "facility_power")
    assert 0.9 * power < more < 1.01 * power  # fans rest a little


def test_heat_network_takes_at_most_its_demand():
    result = run(heated(), 0.8, air=20.0)
    assert last(result, "heat_reuse_power", heat_reuse="pump") == pytest.approx(0.2)
    assert last(result, "heat_reuse_limit", heat_reuse="pump") == pytest.approx(0.2)


def test_heat_sold_is_at_most_the_heat_of_the_circuit():
    site = heated(**HUNGRY)
    result = run(site, 5.0, share=0.3)
    warm = result["cdu_output"].sum("cdu") + result["cdu_pump_power"].sum("cdu")
    taken = result["heat_reuse_source_heat"].sel(heat_reuse="pump")
    assert taken.to_numpy() == pytest.approx(warm.to_numpy(), abs=1e-6)
    assert result["cooling_load"].sel(circuit="warm_plant").min() >= 0.0
    assert result["closure"].max() < 1e-9


def test_order_in_the_file_changes_nothing():
    site = heated(**HUNGRY)
    turned = site.with_equipment(dict(reversed(list(site.equipment.items()))))
    one, other = run(site, 5.0), run(turned, 5.0)
    assert last(one, "grid_import_power") == pytest.approx(last(other, "grid_import_power"))
    owners = [convert.owner for convert in turned.conversions]
    assert owners.index("cdu_1") < owners.index("pump") < owners.index("warm_plant")


def test_energy_reused_is_an_indicator():
    result = run(heated(), 0.5)
    reused = float(indicators(result)["erf"])
    assert reused == pytest.approx(0.5 / float(result["facility_power"].mean()), rel=1e-3)


def test_invalid_order_is_refused():
    with pytest.raises(StateError, match="heat_reuse_power, pump"):
        run(heated(), np.nan)


def test_heat_source_cannot_be_warmer_than_the_return():
    pump = {"source_inlet_temperature": "55 degC", "source_outlet_temperature": "45 degC"}
    site = heated(**pump)
    (fault,) = site_issues(site)
    assert "48 degC" in fault.expected
    assert fault.location == "[equipment.pump] source_inlet_temperature"


def test_second_heat_pump_is_refused():
    site = heated()
    twin = site.equipment["pump"].model_copy(update={"name": "other"})
    faults = site_issues(site.with_equipment({**site.equipment, "other": twin}))
    assert any("merge them into one machine" in fault.remedy for fault in faults)
