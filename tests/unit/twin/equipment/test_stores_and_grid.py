"""Batteries, tanks and the grid connection: their relations in the model."""

import pytest
from pydantic import ValidationError

from twin.equipment import Battery, ChilledWaterTank, GridConnection
from twin.errors import IssueCode, SiteError
from twin.relations import DemandCharge, Exchange

BATTERY = {
    "name": "battery",
    "capacity": "10 MWh",
    "power": "5 MW",
    "charge_efficiency": 0.96,
    "discharge_efficiency": 0.95,
}
TANK = {
    "name": "tank",
    "volume": "1000 m3",
    "temperature_span": "8 K",
    "useful_share": 0.9,
    "power": "2 MW",
}
GRID = {"name": "grid", "import_limit": "200 MW", "ramp": "4 MW/min", "peak_price": "900 EUR/MW"}


def test_battery_operates_between_reserve_and_upper_limit():
    battery = Battery.model_validate(BATTERY | {"reserve": 0.2, "ceiling": 0.9})
    (store,) = battery.relations()
    assert (store.min_level, store.max_level) == pytest.approx((2.0, 9.0))
    assert (store.charge_limit, store.discharge_limit) == (5.0, 5.0)
    assert (store.charge_efficiency, store.discharge_efficiency) == (0.96, 0.95)
    assert store.carrier == "medium_voltage"


def test_aged_cells_store_and_deliver_less():
    # 0.8 x 10 MWh are left; of cells for 0.5 of their capacity an hour 4 MW, below the converters'
    battery = Battery.model_validate(BATTERY | {"health": 0.8, "c_rate": 0.5, "reserve": 0.25})
    (store,) = battery.relations()
    assert (store.min_level, store.max_level) == pytest.approx((2.0, 8.0))
    assert (store.charge_limit, store.discharge_limit) == pytest.approx((4.0, 4.0))


def test_wear_cost_is_cell_price_per_throughput():
    # 120 EUR/kWh over 6000 cycles are 20 EUR for each MWh of the cells, 20 / 0.95 at the bus
    battery = Battery.model_validate(
        BATTERY | {"cell_price": "120 EUR/kWh", "cycle_life": 6000, "wear_price": "0 EUR/MWh"}
    )
    (store,) = battery.relations()
    assert store.wear_cost == pytest.approx(20.0 / 0.95)
    with pytest.raises(ValidationError, match="not both"):
        Battery.model_validate(BATTERY | {"cell_price": "1 EUR/kWh", "wear_price": "1 EUR/MWh"})


def test_battery_without_a_window_is_refused():
    with pytest.raises(ValidationError, match="reserve must be below ceiling"):
        Battery.model_validate(BATTERY | {"reserve": 0.5, "ceiling": 0.5})


@pytest.mark.parametrize(
    ("name", "value"),
    [("capacity", "0 MWh"), ("charge_efficiency", 1.1), ("reserve", 1.0), ("capacity", "10 MW")],
)
def test_invalid_battery_is_refused(name, value):
    with pytest.raises(ValidationError, match=name):
        Battery.model_validate(BATTERY | {name: value})


def test_tank_capacity_is_that_of_its_water():
    # 900 m3 x 999.1 kg/m3 x 4.186 kJ/(kg K) x 8 K / 3.6e6 kJ/MWh = 8.364 MWh
    tank = ChilledWaterTank.model_validate(TANK)
    assert tank.capacity == pytest.approx(8.364, abs=0.02)
    (store,) = tank.relations()
    assert (store.min_level, store.max_level) == (0.0, tank.capacity)
    assert store.carrier == "chilled"
    assert store.charge_efficiency == store.discharge_efficiency == 1.0


def test_capacity_is_proportional_to_temperature_span():
    tank = ChilledWaterTank.model_validate(TANK)
    wider = ChilledWaterTank.model_validate(TANK | {"temperature_span": "16 K"})
    assert wider.capacity == pytest.approx(2.0 * tank.capacity)


def test_connection_trades_and_pays_for_its_peak():
    exchange, promise = GridConnection.model_validate(
        GRID | {"import_fee": "12 EUR/MWh"}
    ).relations()
    assert isinstance(exchange, Exchange)
    assert (exchange.import_limit, exchange.export_limit, exchange.ramp_limit) == (200.0, 0.0, 4.0)
    assert (exchange.import_fee, exchange.price_variable) == (12.0, "electricity_price")
    assert promise == DemandCharge(owner="grid", charged_variable="grid_import_power", price=900.0)


@pytest.mark.parametrize(
    ("name", "value"), [("import_limit", "0 MW"), ("export_limit", "-1 MW"), ("ramp", "4 MW")]
)
def test_invalid_connection_is_refused(name, value):
    with pytest.raises(ValidationError, match=name):
        GridConnection.model_validate(GRID | {name: value})


def test_ramp_per_hour_is_converted_to_minutes():
    assert GridConnection.model_validate(GRID | {"ramp": "240 MW/h"}).ramp == pytest.approx(4.0)


def test_parameters_from_python_are_canonical_numbers_or_texts():
    """Proves: `Battery(...)` takes bare numbers as `with_parameters` does, and lists wrong values.

    Sensitivity: an error of pydantic without location and remedy.
    """
    given = {"name": "battery_1", "capacity": 4.0, "power": "1000 kW", "wear_price": 5.0}
    needed = BATTERY | given
    battery = Battery(**needed)
    assert (battery.capacity, battery.power, battery.wear_price) == (4.0, 1.0, 5.0)
    with pytest.raises(SiteError) as caught:
        Battery(**needed | {"wear_price": -5.0, "power": "1 MWh", "size": 4.0})
    issues = {issue.location: issue.code for issue in caught.value.issues}
    assert issues == {
        "Battery.wear_price": IssueCode.OUT_OF_RANGE,
        "Battery.power": IssueCode.WRONG_UNIT,
        "Battery.size": IssueCode.UNKNOWN_KEY,
    }
    with pytest.raises(ValidationError, match="write the unit"):
        Battery.model_validate(needed)  # as a file is read
