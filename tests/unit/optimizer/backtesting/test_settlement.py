"""The bill of one hour, by hand."""

import numpy as np
import pytest

import sites
from optimizer.backtesting.settlement import WorkBalance, energy_of_work_left, settle
from tests.support.heat_pump_site import heated
from tests.support.strict_site import strict
from twin import time_axes, variables
from twin.markets.contracts import HourlyMatching
from twin.simulation.minimum_times import StagingCounts

START = time_axes.to_utc("2026-06-16")
NOTHING = WorkBalance(done=0.0, remaining_work={}, lateness=0.0, power_weighted_lateness=0.0)


@pytest.fixture
def site():
    """Return the small site with a contract for its wind."""
    return sites.load_site("small").with_parameters("wind_1", price=40.0)


@pytest.fixture
def record():
    """Return an hour of a plant with quarter-hour means of 2, 4, -0.4 and 2 MW."""
    hour = time_axes.regular_axes(START, 60, time_axes.MINUTE)
    net = np.repeat([2.0, 4.0, -0.4, 2.0], 15)
    net[:15] = np.linspace(1.0, 3.0, 15)  # averaged by the meter
    flows = {
        "grid_import_power": np.maximum(net, 0.0),
        "grid_export_power": np.maximum(-net, 0.0),
        "facility_power": np.full(60, 2.2),
        "it_power": np.full(60, 2.0),
        "water_use": np.full(60, 0.6),
    }
    for name, values in flows.items():
        hour[name] = "time", values
    labels = {"battery": ["battery_1"], "tank": ["tank_1"], "renewable": ["solar_1", "wind_1"]}
    hour = hour.assign_coords(labels | {"circuit": ["warm_plant", "chilled_plant"]})
    given = np.where(np.arange(60) < 12, 0.5, 0.0)
    hour["battery_discharge"] = ("time", "battery"), given[:, None]
    hour["tank_discharge"] = ("time", "tank"), np.zeros((60, 1))
    hour["battery_level"] = ("instant", "battery"), np.linspace(1.0, 0.5, 61)[:, None]
    hour["tank_level"] = ("instant", "tank"), np.linspace(1.0, 1.5, 61)[:, None]
    hour["renewable_used_power"] = ("time", "renewable"), np.tile([0.1, 0.3], (60, 1))
    hour["cooling_plant_draw"] = ("time", "circuit"), np.tile([0.05, 0.1], (60, 1))
    hour["cooling_plant_output"] = ("time", "circuit"), np.tile([2.0, 0.5], (60, 1))
    return variables.tag_dataset(hour)


@pytest.fixture
def series():
    truth = time_axes.regular_axes(START - np.timedelta64(1, "h"), 12)
    truth["electricity_price"] = "time", [900.0] * 4 + [100.0, 50.0, -20.0, 10.0] + [900.0] * 4
    truth["carbon_intensity"] = "time", [9.0] * 4 + [400.0, 300.0, 200.0, 100.0] + [9.0] * 4
    return truth


@pytest.fixture
def bill(site, record, series):
    work = WorkBalance(
        done=5.0, remaining_work={"training": 2.0}, lateness=1.5, power_weighted_lateness=0.7
    )
    return settle(site, record, series, work=work, peak_power=3.5)


def test_energy_is_paid_by_the_quarter_hour(bill):
    # 0.5 x 100 + 1 x 50 + 0.5 x 10, and 0.1 MWh sold at -20
    assert bill.accounts["electricity"] == pytest.approx(105.0 + 2.0)


def test_fees_apply_to_import_and_export(bill):
    # 12 EUR on 2 MWh bought, 2 EUR on 0.1 MWh sold
    assert bill.accounts["network"] == pytest.approx(24.2)


def test_quarter_hour_peak_above_the_last_is_charged(bill):
    assert bill.peak_mw == pytest.approx(4.0)
    assert bill.accounts["peak"] == pytest.approx(0.5 * 1300.0)


def test_a_peak_that_was_reached_before_costs_nothing(site, record, series):
    bill = settle(site, record, series, work=NOTHING, peak_power=4.2)
    assert bill.accounts["peak"] == 0.0
    assert bill.peak_mw == pytest.approx(4.0)


def test_each_month_pays_its_own_peak(site, record, series):
    """Proves: 2 and 4 MW in July, 2 in August: 0.5 MW over July's 3.5 MW, and all 2 of August.

    Sensitivity: 650 EUR, not 3250 EUR, if the running peak never fell. Months turn at 22:00 UTC.
    """
    shift = np.datetime64("2026-07-31T21:15", "us") - START
    for data in (record, series):
        for name in ("time", "instant"):
            data[name] = data[name] + shift
    bill = settle(site, record, series, work=NOTHING, peak_power=3.5)
    assert bill.accounts["peak"] == pytest.approx((0.5 + 2.0) * 1300.0)
    assert bill.peak_mw == pytest.approx(4.0)


def test_water_wear_and_contracts(bill):
    assert bill.water_m3 == pytest.approx(0.6)
    assert bill.accounts["water"] == pytest.approx(1.8)
    assert bill.accounts["wear"] == pytest.approx(0.8)  # 0.1 MWh at 8 EUR
    assert bill.accounts["renewables"] == pytest.approx(12.0)  # 0.3 MWh at 40 EUR


def test_energy_and_effectiveness(bill):
    assert (bill.energy_mwh, bill.it_energy_mwh) == pytest.approx((2.2, 2.0))
    assert bill.pue == pytest.approx(1.1)


def test_stores_that_end_emptier_are_paid_at_the_mean_price(bill):
    # battery -0.5 x 0.96, tank +0.5 x 0.1 / 0.5 MWh; 35 + 12 EUR
    assert bill.accounts["stocks"] == pytest.approx(0.38 * 47.0)


def test_remaining_work_is_billed_at_its_tolerated_cap(site, bill):
    # training at 0.7231 of its power does 0.9 of its work: one MWh takes
    # (0.132 x 0.7231 - 0.024) / (0.132 x 0.9) = 0.6014 MWh; 2 MWh of it with 1.1 of overhead
    work = WorkBalance(
        done=0.0, remaining_work={"training": 2.0}, lateness=0.0, power_weighted_lateness=0.0
    )
    assert energy_of_work_left(site, work, overhead=1.1) == pytest.approx(1.32308, abs=1e-5)
    assert bill.accounts["backlog"] == pytest.approx(1.32308 * 47.0, abs=1e-3)


def test_carbon_counts_imports_and_remaining_stores(bill):
    # 0.5 x 400 + 1 x 300 + 0.5 x 100; left 1.323 + 0.38 MWh at the mean of 250 kg
    assert bill.carbon_kg == pytest.approx(550.0)
    assert bill.weighted_terms["carbon"] == pytest.approx(
        0.08 * (550.0 + 1.70308 * 250.0), abs=1e-3
    )


def test_remaining_energy_uses_contract_carbon_without_grid_data(site, record, series):
    """Import 2, 4, 0 and 2 MW, of which 1 MW is matched: 1.25 of 2 MWh at 400 kg, mean 250."""
    ppa = HourlyMatching.model_construct(name="ppa", band_power=1.0, residual_intensity=400.0)
    matched = site.with_equipment({**site.equipment, "ppa": ppa}).with_parameters(
        "grid_1", carbon="matched"
    )
    work = WorkBalance(
        done=5.0, remaining_work={"training": 2.0}, lateness=0.0, power_weighted_lateness=0.0
    )
    unknown = series.assign(carbon_intensity=0.0 * series["carbon_intensity"])
    bill = settle(matched, record, unknown, work=work, peak_power=3.5)
    assert bill.weighted_terms["carbon"] == pytest.approx(
        0.08 * (500.0 + 1.70308 * 250.0), abs=1e-3
    )


def test_lateness_is_weighted_by_energy(bill):
    assert bill.weighted_terms["lateness"] == pytest.approx(0.7 * 200.0)


def test_objective_is_the_sum_of_its_parts(bill):
    assert bill.cost == pytest.approx(sum(bill.accounts.values()))
    assert bill.objective == pytest.approx(bill.cost + sum(bill.weighted_terms.values()))


def test_work_now_equals_work_later_at_the_mean_price(site, record, series):
    """No policy gains by leaving work: a remaining MWh costs as much as a MWh used evenly."""
    record["grid_export_power"].values[:] = 0.0
    record["grid_import_power"].values[:] = 2.0
    plain = settle(site, record, series, work=NOTHING, peak_power=9.0)
    record["grid_import_power"] += 0.1
    more = settle(site, record, series, work=NOTHING, peak_power=9.0)
    drawn = more.objective - plain.objective
    # 0.1 MWh drawn evenly: at the mean of the prices, of the fee, of the carbon
    assert drawn == pytest.approx(0.1 * (35.0 + 12.0 + 0.08 * 250.0))


def test_heat_earns_its_fixed_price(record, series):
    # 0.4 MW for 30 of 60 minutes at 25 EUR/MWh
    sold = np.where(np.arange(60) < 30, 0.4, 0.0)[:, None]
    record = record.assign_coords(heat_reuse=["pump"])
    record["heat_reuse_power"] = ("time", "heat_reuse"), sold
    bill = settle(heated(), record, series, work=NOTHING, peak_power=3.5)
    assert bill.accounts["heat"] == pytest.approx(-5.0)


def test_starts_are_billed_and_minimum_times_counted(site, record, series):
    """Proves: one of two chillers runs throughout; the other starts at minutes 10 and 40.

    Three starts of 12.34 EUR are 37.02 EUR in a separate account. At minute 20 the first stops,
    at 45 the second, 20 and 35 minutes after their starts. Both are shorter than 0.6 h, which costs
    nothing. Sensitivity: 24.68 EUR if chillers running at first had not started.
    """
    ruled = strict(site, minimum_up=0.6, minimum_down=0.25, start_cost=12.34)
    second = np.repeat([0.0, 1.0, 0.0, 1.0, 0.0], [10, 10, 20, 5, 15])
    on = np.stack([np.zeros(60), 1.0 + second], axis=-1)
    record["cooling_plant_units_on"] = ("time", "circuit"), on
    plain = settle(site, record, series, work=NOTHING, peak_power=3.5)
    bill = settle(ruled, record, series, work=NOTHING, peak_power=3.5)
    assert bill.accounts["starts"] == pytest.approx(37.02, abs=1e-9)
    assert bill.objective == pytest.approx(plain.objective + 37.02)
    assert bill.staging == StagingCounts(starts=3, stops=2, min_up_violations=2)
    assert "starts" not in plain.accounts
    assert plain.staging == StagingCounts()
