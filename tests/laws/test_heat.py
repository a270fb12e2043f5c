"""Heat sold to a network by a pump of COP 4: when it runs, without wasted power.

Racks give their heat to the warm circuit. 4 MW of heat need 1 MW of electricity and 3 MW of warmth.
"""

import numpy as np
import pytest

from tests.support.hand import Given, machine, outlook, site, solved, through
from twin.equipment import ITHall
from twin.relations import Conversion, ConversionFlows, Exchange

NEAR = 0.05
"""Lines may lie above the curve by a little. [MW]"""


def pump(*, price, demand=4.0, draw=lambda q: 0.25 * q):
    def physics(q, _):
        power = np.asarray(draw(q), dtype=float)
        return ConversionFlows(inputs={"medium_voltage": power, "warm": power - q}, heat=0.0 * q)

    convert = Conversion(
        owner="pump",
        output_carrier="heat",
        primary_input="medium_voltage",
        input_carriers=("medium_voltage", "warm"),
        heat_source="warm",
        max_output=lambda weather: np.full(len(weather), demand),
        flows_at_output=physics,
    )
    sale = Exchange(
        owner="pump",
        carrier="heat",
        import_limit=0.0,
        export_limit=demand,
        export_fee=-price,
        account="heat",
    )
    return Given(name="pump", given=(convert, sale))


def warm_site(*others, exchanger=through, plant=lambda q: 0.0 * q):
    hall = ITHall.model_construct(
        name="hall", racks=10, rack_power=1.0, rack_idle_power=0.0, liquid_share=1.0
    )
    return site(
        *others,
        machine("exchanger", "liquid", draws={"warm": exchanger}),
        machine("plant", "warm", draws={"medium_voltage": plant}),
        hall=hall,
    )


def test_heat_is_sold_where_it_pays_for_its_power():
    """Proves: at 30 for heat the pump runs at 100 and 119 and rests at 121: 4 x 30 = 120 a MW.

    10 MW of racks in three hours: 3400; less 4 x 30 - 100 = 20 and 4 x 30 - 119 = 1.
    Sensitivity: 3380 if it stopped at 119, 3380 if it ran at 121.
    """
    plan = solved(warm_site(pump(price=30.0)), outlook([100.0, 119.0, 121.0], service=10.0))
    assert plan.values["pump.export_power"] == pytest.approx([4.0, 4.0, 0.0], abs=1e-6)
    assert plan.objective == pytest.approx(3400.0 - 21.0)
    assert plan.accounts["heat"] == pytest.approx([-120.0, -120.0, 0.0], abs=1e-6)


def test_sold_heat_needs_no_cooling():
    """Proves: with cooling at half a MW a MW, 3 MW taken save 1.5 MW: it runs unpaid.

    10 MW and 7 x 0.5 MW of cooling and 1 MW for the pump at 100. Sensitivity: 1500 at rest.
    """
    where = warm_site(pump(price=0.0), plant=lambda q: 0.5 * q)
    plan = solved(where, outlook([100.0], service=10.0))
    assert plan.objective == pytest.approx(1450.0)


def test_heat_sold_is_limited_by_the_racks():
    """Proves: 1.5 MW of racks give 2 MW of heat with 0.5 MW of power: 100 x 2 - 10 x 2 = -180.

    Sensitivity: -360 if 4 MW were sold.
    """
    plan = solved(warm_site(pump(price=100.0)), outlook([10.0], service=1.5))
    assert plan.values["pump.export_power"] == pytest.approx([2.0])
    assert plan.objective == pytest.approx(-180.0)


def lossy(q):
    """5 MW of coolant give 5.25 MW of heat, 10 MW give 11 MW."""
    return q + 0.01 * q**2


def test_losses_are_not_increased_to_sell_heat():
    """Proves: heat at 100, power at 10: the exchanger still gives what physics says, 5.25 MW.

    5 MWh of work that must be done; 7 MW of heat from 5.25 MW of warmth. Sensitivity: 7.33 MW from
    5.5 MW along the secant.
    """
    where = warm_site(pump(price=100.0, demand=20.0), exchanger=lossy)
    plan = solved(where, outlook([10.0], jobs=[("batch", [5.0], [5.0], 10.0)]))
    assert plan.values["pump.export_power"] == pytest.approx([7.0], abs=2 * NEAR)
    assert plan.relaxed_objective < plan.objective - 1.0
    assert plan.fixed_segments


@pytest.mark.parametrize("load", [2.0, 6.0])
def test_pump_wastes_nothing_at_negative_prices(load):
    """Proves: at -50 the pump draws what physics asks for its heat. Sensitivity: its secant."""

    def bent(q):
        return 0.1 * q + 0.01 * q**2

    where = warm_site(pump(price=-8.0, demand=10.0, draw=bent))
    plan = solved(where, outlook([-50.0], service=load))
    sold = float(plan.values["pump.export_power"][0])
    curve = plan.data.curves["pump"]
    drawn = curve.draw_at_min_output["medium_voltage"] + (
        curve.segment_slopes["medium_voltage"] * plan.values["pump.segment"]
    ).sum(axis=1)
    assert drawn == pytest.approx([bent(sold)], abs=NEAR)


def test_work_is_spread_to_sell_all_heat():
    """Proves: 6 MWh of work run as 3 and 3, each with 4 MW of heat at 60.

    600 for 6 MWh, 15 for the dearer 3, 205 for 2 MWh of the pump, less 480. Sensitivity: 460 with
    all work in hour one: 600 and 100 for one hour of the pump less 240.
    """
    jobs = [("batch", [0.0, 6.0], [6.0, 6.0], 10.0)]
    plan = solved(warm_site(pump(price=60.0)), outlook([100.0, 105.0], jobs=jobs))
    assert plan.values["pump.export_power"] == pytest.approx([4.0, 4.0])
    assert plan.objective == pytest.approx(340.0)
