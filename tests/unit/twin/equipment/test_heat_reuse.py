"""Heat pumps to a network: power, heat demand and available heat."""

import numpy as np
import pytest
from pydantic import ValidationError

from tests.support.heat_pump_site import PUMP
from twin.equipment import HeatReuse
from twin.relations import Exchange


def pump(**changed):
    return HeatReuse.model_validate(PUMP | changed)


@pytest.fixture
def outside(outdoors):
    dry = np.array([-20.0, -10.0, 5.0, 20.0, 30.0])
    return outdoors(dry, dry - 1.0)


def test_the_rated_cop_is_a_share_of_the_lorenz_cycle():
    # 48/38 degC is 316.12 K in the mean, 47/80 degC 336.38 K: 0.5 x 336.38 / 20.26
    machine = pump()
    assert machine.rated_cop == pytest.approx(8.30, abs=0.01)
    assert machine.power(np.array([1.0])) == pytest.approx(1.0 / machine.rated_cop)


def test_half_load_takes_less_than_half_the_power():
    # lift 20.26 K and approaches of 6 K at rating, 3 K at half load: 23.26 / 26.26
    full, half, tenth, least = pump().power(np.array([1.0, 0.5, 0.1, 0.05]))
    assert half / full == pytest.approx(0.5 * 23.26 / 26.26, abs=1e-4)
    assert least == pytest.approx(tenth / 2.0)  # cycling


def test_sliding_network_needs_less_lift_in_mild_weather():
    # 80 degC at -10 degC outdoors, 60 at 20: at 5 degC 70, whose mean with 47 degC is 331.52 K
    machine = pump(mild_supply_temperature="60 degC")
    outdoors = np.array([-20.0, -10.0, 5.0, 20.0, 30.0])
    assert machine.network_supply_temperature(outdoors) == pytest.approx(
        [80.0, 80.0, 70.0, 60.0, 60.0]
    )
    drawn = machine.power(np.ones(5), outdoors)
    # COP 0.5 x 331.52 / (331.52 - 316.12)
    assert drawn[1:3] == pytest.approx([1 / 8.30, (331.52 - 316.12) / 0.5 / 331.52], rel=2e-3)
    assert drawn[0] == pytest.approx(drawn[1])
    assert drawn[3] == pytest.approx(drawn[4])
    assert (np.diff(drawn[1:4]) < 0.0).all()
    assert pump().power(np.ones(5), outdoors) == pytest.approx(np.full(5, drawn[0]))


@pytest.mark.parametrize("mild", ["85 degC", "47 degC"])
def test_sliding_supply_stays_between_its_limits(mild):
    with pytest.raises(ValidationError, match="must lie between return_ and supply_temperature"):
        pump(mild_supply_temperature=mild)


def test_less_efficient_machine_draws_more():
    assert pump(lorenz_efficiency=0.4).power(np.ones(1)) == pytest.approx(
        1.25 * pump().power(np.ones(1))
    )


def test_heat_demand_rises_in_the_cold_up_to_the_contract(outside):
    # 0.2 of 1 MW for hot water; heating from 20 degC down to -10 degC
    assert pump().max_output(outside) == pytest.approx([1.0, 1.0, 0.6, 0.2, 0.2])
    assert pump(rated_heat="0.5 MW").max_output(outside) == pytest.approx([0.5, 0.5, 0.5, 0.2, 0.2])


def test_heat_taken_is_at_most_heat_available():
    machine = pump()
    there = np.array([0.0, 0.3, 0.8, 5.0])
    heat = machine.max_output_from_source(there)
    taken = heat - machine.power(heat)
    assert (taken <= there + 1e-12).all()
    assert taken[:3] == pytest.approx(there[:3], abs=1e-9)
    assert heat[3] == 1.0


def test_energy_closes(outside):
    convert, exchange = pump().relations()
    output = np.array([0.0, 0.2, 0.5, 0.8, 1.0])
    flows = convert.flows_at_output(output, outside)
    assert flows.inputs["medium_voltage"] - flows.inputs["warm"] == pytest.approx(output)
    assert flows.heat == pytest.approx(0.0)
    assert exchange == Exchange(
        owner="pump",
        carrier="heat",
        import_limit=0.0,
        export_limit=1.0,
        export_fee=-25.0,
        account="heat",
    )


@pytest.mark.parametrize(
    ("changed", "pattern"),
    [
        ({"source_outlet_temperature": "50 degC"}, "source_outlet_temperature"),
        ({"return_temperature": "85 degC"}, "return_temperature"),
        ({"design_temperature": "25 degC"}, "design_temperature"),
        ({"supply_temperature": "48 degC", "return_temperature": "30 degC"}, "raise supply_temp"),
        ({"source_inlet_temperature": "12 degC", "source_outlet_temperature": "6 degC",
          "supply_temperature": "125 degC", "return_temperature": "95 degC",
          "lorenz_efficiency": 0.2}, "COP above 1"),
        ({"lorenz_efficiency": 1.0}, "lorenz_efficiency"),
        ({"lorenz_efficiency": 0.8}, "would be 1.01 of the Lorenz COP: lower lorenz"),
        ({"rated_heat": 1.0}, "rated_heat"),
    ],
)  # fmt: skip
def test_invalid_heat_pump_is_refused(changed, pattern):
    with pytest.raises(ValidationError, match=pattern):
        pump(**changed)


def test_part_load_never_exceeds_the_lorenz_cycle():
    """Proves: at a tenth the lift is 20.26 + 0.6 of 26.26 K, so 0.79 at rating is 0.9945 there.

    Sensitivity: 0.8 would be 1.007, and is refused.
    """
    tenth = pump(lorenz_efficiency=0.79)
    heat = np.array([0.1 * tenth.rated_heat])
    assert heat / tenth.power(heat) == pytest.approx(0.9945 * 336.38 / 20.26, rel=1e-3)
