"""A position over a horizon: as far as it is known, on whole intervals, and what a run pays."""

import warnings

import numpy as np
import pytest
import xarray as xr

from optimizer.backtesting.settlement import contract_accounts
from optimizer.problem.planning_outlook import position_outlook
from tests.support import small_days
from tests.support.contract_sites import YEAR, asked, position, with_target, with_words
from tests.support.hand import START, grid, outlook, site
from twin import time_axes, variables
from twin.forecast.series_record import series_history as make_record
from twin.markets.contracts import CarbonBudget, HourlyMatching

NOON = np.datetime64("2026-07-01T10:00", "us")  # 12:00 in Berlin: tomorrow is not published yet
LATER = NOON + np.timedelta64(1, "h")


@pytest.fixture
def record():
    """Return quarter-hours of four days, bought to the end of the third, and prices of two."""
    grid = time_axes.regular_axes(START, 4 * 96)
    count = np.arange(4 * 96)
    words = {
        "electricity_price": np.full(4 * 96, 50.0),
        "day_ahead_position": np.where(count < 3 * 96, 10.0 + count % 4, np.nan),
        "imbalance_short_price": np.where(count < 2 * 96, 70.0, np.nan),
        "imbalance_long_price": np.where(count < 2 * 96, 20.0, np.nan),
    }
    found = grid.assign({name: ("time", values) for name, values in words.items()})
    return variables.tag_dataset(found)


def market_site(**changes):
    return site(position(imbalance_spread=30.0, **changes)).model_copy(
        update={"time_zone": "Europe/Berlin"}
    )


def test_no_position_without_contract_or_series(record):
    ahead = time_axes.horizon_axes(NOON, [(24.0, 15.0)])
    assert not position_outlook(site(), record, NOON, axes=ahead).data_vars
    bare = record.drop_vars("day_ahead_position")
    assert not position_outlook(market_site(), bare, NOON, axes=ahead).data_vars


def test_position_is_known_after_its_auction(record):
    """At noon to the end of today, at 13:00 to the end of tomorrow, local time: 22:00 UTC."""
    ahead = time_axes.horizon_axes(NOON, [(24.0, 15.0), (24.0, 60.0)])
    held = position_outlook(market_site(), record, NOON, axes=ahead)["position_held"]
    assert int(held.sum()) == 12 * 4
    ahead = time_axes.horizon_axes(LATER, [(24.0, 15.0), (24.0, 60.0)])
    with warnings.catch_warnings(action="error"):
        found = position_outlook(market_site(), record, LATER, axes=ahead)
        assert ahead.merge(found)["duration"].equals(ahead["duration"])
    assert float((found["position_held"] * ahead["duration"]).sum()) == 35.0
    assert set(found.data_vars) == {"day_ahead_position", "position_held"}
    assert float(found["day_ahead_position"].sel(time="2026-07-02T12:00")) == 11.5  # of an hour
    assert float(found["day_ahead_position"][-1]) == 0.0


def test_unknown_position_changes_nothing(record):
    ahead = time_axes.horizon_axes(NOON, [(24.0, 15.0), (24.0, 60.0)])
    before = position_outlook(market_site(), record, NOON, axes=ahead)
    damaged = record.copy(deep=True)
    damaged["day_ahead_position"].loc[{"time": slice("2026-07-01T22:00", None)}] = 99.0
    damaged["imbalance_short_price"][:] = 1e4
    xr.testing.assert_identical(position_outlook(market_site(), damaged, NOON, axes=ahead), before)


def test_imbalance_prices_are_known_or_use_the_spread(record):
    ahead = time_axes.regular_axes(START, 4 * 96)
    found = position_outlook(market_site(), record, START, axes=ahead, foresight=True)
    assert int(found["position_held"].sum()) == 3 * 96
    assert found["imbalance_short_price"].values[[0, -1]].tolist() == [70.0, 80.0]
    assert found["imbalance_long_price"].values[[0, -1]].tolist() == [20.0, 20.0]


def test_record_has_a_position_only_from_a_series():
    world = small_days.world()
    assert "day_ahead_position" not in world.series
    hours = time_axes.regular_axes(world.start, 24, np.timedelta64(1, "h"))
    bought = variables.tag_dataset(hours.assign(day_ahead_position=("time", np.full(24, 3.0))))
    plain = [world.series[name].to_dataset() for name in PLAIN]
    parts = [
        part.assign_coords(instant=("instant", time_axes.interval_edges(part))) for part in plain
    ]
    weather = xr.merge([world.series[list(WEATHER)]]).assign_coords(
        instant=("instant", time_axes.interval_edges(world.series))
    )
    whole = make_record(small_days.problem().site, *parts, weather, bought)
    held = whole["day_ahead_position"]
    assert float(held.sum()) == 3.0 * 96
    assert int(np.isfinite(held).sum()) == 96


PLAIN = ("electricity_price", "carbon_intensity")
WEATHER = (
    "air_temperature", "relative_humidity", "air_pressure", "wind_speed", "global_irradiance",
)  # fmt: skip


# --- what a run pays


def settled(where, series, power, *, water=0.0):
    """Return the bill of a run at a power over its quarter-hours."""
    minutes = time_axes.regular_axes(START, series.sizes["time"] * 15, np.timedelta64(1, "m"))
    ran = minutes.assign(water_use=("time", np.full(minutes.sizes["time"], water)))
    net = np.broadcast_to(np.asarray(power, float), series.sizes["time"])
    return contract_accounts(where, ran, series, net=net)


def quarters(prices, **words):
    return outlook(prices, hours=0.25, **words)


def test_imbalance_is_settled_at_true_prices():
    """4 MW bought; 3 taken, then 6: 0.25 MWh left at 50 - 40, 0.5 MWh short at 70 - 50."""
    words = {"day_ahead_position": 4.0, "position_held": 1.0}
    words |= {"imbalance_short_price": 70.0, "imbalance_long_price": 40.0}
    series = with_words(quarters([50.0, 50.0]), **words)
    paid = settled(site(position()), series, [3.0, 6.0])
    assert paid == {"imbalance": pytest.approx(0.25 * 10.0 + 0.5 * 20.0)}


def test_exceeded_target_is_settled():
    series = with_target(quarters([50.0, 50.0]), [3.0, 3.0])
    assert settled(site(asked()), series, [2.0, 4.0]) == {"targets": pytest.approx(12.5)}


def test_carbon_budget_is_settled_over_the_run():
    """2 quarter-hours of 4 MW at 300 kg/MWh: 600 kg, 100 of them beyond, at 2 EUR/kg."""
    budget = CarbonBudget.model_construct(name="cap", amount=500.0 * YEAR / 0.5, price=2.0)
    series = quarters([50.0, 50.0], carbon=300.0)
    assert settled(site(budget), series, 4.0) == {"budgets": pytest.approx(200.0)}


def test_daily_carbon_budget_is_settled_per_day():
    """Seven days of 24 MWh and 20 MWh in turn, of 22 a day: 2 beyond on four of them."""
    budget = CarbonBudget.model_construct(name="cap", amount=22.0 * 365.0, price=1.0, window="day")
    power = np.repeat([1.0, 20.0 / 24.0] * 3 + [1.0], 96)
    series = quarters([50.0] * len(power), carbon=1.0)
    assert settled(site(budget), series, power) == {"budgets": pytest.approx(8.0)}


def test_unmatched_energy_counts_with_the_residual_mix():
    """3 MW matched, 5 and 2 taken: 0.5 MWh at 400 kg/MWh."""
    ppa = HourlyMatching.model_construct(name="ppa", band_power=3.0, residual_intensity=400.0)
    where = site(ppa, connection=grid().model_copy(update={"carbon": "matched"}))
    paid = settled(where, quarters([50.0, 50.0]), [5.0, 2.0])
    assert paid == {"carbon": pytest.approx(200.0)}


def test_record_is_settled(record):
    """Days 2 to 4 at 12 MW; 10, 11, 12, 13 bought in turn: an hour 0.75 MWh short, 0.25 long.

    On day 2 at 70 and 20 to 50: 0.75 x 20 + 0.25 x 30 = 22.5 an hour; on day 3 at 80 and 20: 30;
    on day 4 nothing is held.
    """
    series = record.assign(carbon_intensity=("time", np.zeros(record.sizes["time"])))
    later = series.isel(time=slice(96, None))
    minutes = time_axes.regular_axes(later["time"].to_numpy()[0], 3 * 1440, np.timedelta64(1, "m"))
    ran = minutes.assign(water_use=("time", np.zeros(3 * 1440)))
    paid = contract_accounts(market_site(), ran, series, net=np.full(3 * 96, 12.0))
    assert paid == {"imbalance": pytest.approx(24 * 22.5 + 24 * 30.0)}


def test_site_without_contracts_pays_for_none():
    assert settled(site(), quarters([50.0, 50.0]), 4.0) == {}
