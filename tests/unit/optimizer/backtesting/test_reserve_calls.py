"""Activations in a back-test: the grid calls reserves, and the meter shows the delivery."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from optimizer.backtesting import reserve_calls, runner
from optimizer.backtesting.case import BacktestCase
from optimizer.backtesting.reserve_calls import ReserveCaller
from telemetry.simulator.reserve_facility import ReserveOrder
from tests.support import small_days
from tests.support.contract_sites import asked
from tests.support.hand import grid
from tests.support.hand import site as hand_site
from tests.support.reserve_sites import product
from tests.unit.optimizer.service import test_reserve_activation
from twin import time_axes, variables
from twin.time_axes import QUARTER_HOUR

START = time_axes.to_utc(small_days.START)
SLOW = {"direction": "up", "needs_controller": False, "full_activation": 12.5, "recovery": 1.0}


def site():
    """Return a site that sells FCR and two products that its contract activates."""
    names = {"mfrr": SLOW, "rr": SLOW, "fcr": {}}
    sold = {name: product(name, **terms) for name, terms in names.items()}
    caller = asked(effect="hard", activates=("mfrr", "rr"))
    where = hand_site(caller, connection=grid(import_limit=50.0, export_limit=5.0))
    return where.model_copy(update={"reserves": sold})


@cache
def plant():
    """Return a plant for activations; it need not run."""
    sold = {name: product(name, **SLOW) for name in ("mfrr", "rr")}
    small = small_days.setting()
    return reserve_calls.build_plant(
        replace(small, site=small.site.model_copy(update={"reserves": sold})), seed=1
    )


def caller(**due):
    """Return a caller of products in some quarter-hours, and its noted orders."""
    signals = {}
    for name in ("mfrr", "rr"):
        quarters = np.isin(np.arange(96), due.get(name, ()))
        signals[name] = np.repeat(quarters.astype(float), 15)
    plant().set_calls(signals, by_order=tuple(signals))
    return ReserveCaller(site(), plant()), plant().orders


def plan(imports, **capacity):
    """Return a plan of quarter-hours from midnight, with constant held reserves. [MW]"""
    found = time_axes.regular_axes(START, len(imports)).assign_coords(product=["mfrr", "rr", "fcr"])
    found["grid_import_power"] = "time", np.asarray(imports, float)
    found["grid_export_power"] = "time", np.zeros(len(imports))
    rows = [np.full(len(imports), capacity.get(name, 0.0)) for name in ("mfrr", "rr", "fcr")]
    found["reserve_capacity"] = ("time", "product"), np.stack(rows, axis=-1)
    return variables.tag_dataset(found)


def test_activation_lowers_the_planned_import():
    """2 MW of 10, 11, 12 for three quarter-hours, then four of recovery."""
    who, orders = caller(mfrr=(1, 2, 3))
    assert not who.call_due(START, plan([9.0, 10.0, 11.0, 12.0, 13.0], mfrr=2.0))
    assert who.call_due(START + QUARTER_HOUR, plan([9.0, 10.0, 11.0, 12.0, 13.0], mfrr=2.0))
    assert not who.call_due(START + 2 * QUARTER_HOUR, plan([9.0, 8.0, 9.0, 10.0, 13.0], mfrr=2.0))
    assert [(one.product, one.first_quarter_hour, one.ordered_power) for one in orders] == [
        ("mfrr", 1, 2.0)
    ]
    outlook = who.requested_outlook(
        time_axes.horizon_axes(START + QUARTER_HOUR, [(2.0, 15.0), (4.0, 60.0)])
    )
    assert outlook["grid_import_target"].to_numpy()[:, 0].tolist() == [8.0, 9.0, 10.0] + [50.0] * 9
    assert np.isinf(outlook["grid_import_target_price"].to_numpy()).all()
    called = outlook["reserve_called"].sel(product="mfrr").to_numpy()
    assert called.tolist() == [1.0] * 7 + [0.0] * 5
    assert not outlook["reserve_called"].sel(product=["rr", "fcr"]).any()
    later = who.requested_outlook(time_axes.horizon_axes(START + 6 * QUARTER_HOUR, [(2.0, 15.0)]))
    assert later["reserve_called"].sel(product="mfrr").to_numpy().tolist() == [1.0] * 2 + [0.0] * 6
    hourly = who.requested_outlook(time_axes.horizon_axes(START, [(2.0, 60.0)]))
    assert hourly["grid_import_target"].to_numpy()[:, 0].tolist() == [8.0, 50.0]


def test_simultaneous_activations_add_up():
    """2 and 3 MW of 10: 5. In the ramp the mean of the first quarter-hour is 20 / 3: all of the
    first is delivered, and 2 MW of the other."""
    who, orders = caller(mfrr=(0,), rr=(0,))
    assert who.call_due(START, plan([10.0] * 4, mfrr=2.0, rr=3.0))
    outlook = who.requested_outlook(time_axes.horizon_axes(START, [(1.0, 15.0)]))
    assert outlook["grid_import_target"].to_numpy()[:, 0].tolist() == [5.0, 50.0, 50.0, 50.0]
    given = [float(one.delivered_power(np.array([20.0 / 3.0]))[0]) for one in orders]
    assert given == pytest.approx([2.0, 2.0])


def test_activation_respects_the_export_limit():
    who, _ = caller(mfrr=(0,))
    who.call_due(START, plan([1.0] * 4, mfrr=9.0))
    outlook = who.requested_outlook(time_axes.horizon_axes(START, [(1.0, 15.0)]))
    assert float(outlook["grid_import_target"][0, 0]) == -5.0


def test_unsold_reserve_is_not_activated():
    who, orders = caller(mfrr=(0,))
    assert not who.call_due(START, None)
    assert not who.call_due(START, plan([10.0] * 4, rr=3.0))
    assert orders == []


def test_site_without_activating_contracts_gets_no_target():
    who = ReserveCaller(small_days.setting().site, SimpleNamespace(now=START))
    assert not who.call_due(START, plan([10.0] * 4, mfrr=2.0))
    assert not who.requested_outlook(time_axes.horizon_axes(START, [(1.0, 15.0)])).data_vars


@pytest.mark.parametrize(
    ("full_activation", "due"),
    [(12.5, [1.0, 6.0]), (15.0, [0.0, 6.0]), (21.0, [0.0, 3.6]), (0.5, [5.8, 6.0])],
)
def test_delivery_counts_from_full_activation(full_activation, due):
    order = ReserveOrder(
        product="mfrr",
        first_quarter_hour=0,
        baseline=np.full(2, 10.0),
        previous_net_import=10.0,
        ordered_power=6.0,
    )
    assert order.required_power(full_activation) == pytest.approx(due)


def test_delivery_is_compared_with_a_plan_with_set_points():
    """From 40 to 10 MW in ten minutes the mean is 20 MW: at 16 MW, 4 of 6 MW are delivered.
    Then at 10 MW: 6 at 4 MW, none at 12 MW.
    """
    order = ReserveOrder(
        product="mfrr",
        first_quarter_hour=1,
        baseline=np.full(3, 10.0),
        previous_net_import=40.0,
        ordered_power=6.0,
    )
    given = order.delivered_power(np.array([40.0, 16.0, 4.0, 12.0]))
    assert given == pytest.approx([4.0, 6.0, 0.0])


@pytest.mark.slow
def test_activated_work_stops_on_a_different_plant(monkeypatch):
    """At 02:15 all capacity sold at 22:00 is activated for an hour, delivered and paid."""
    world = small_days.world(2)
    begin = world.start + np.timedelta64(21, "h")
    until = begin + np.timedelta64(7, "h")
    where = test_reserve_activation.site()
    setting = BacktestCase.of(where, replace(world, start=begin, end=until), load_scale=0.6)

    def called(products, minutes, **_):
        signal = np.zeros(minutes)
        signal[5 * 60 + 7 : 6 * 60 + 7] = 1.0
        return dict.fromkeys(products, signal)

    monkeypatch.setattr(reserve_calls, "draw_reserve_calls", called)
    trial = runner.run_backtest_policy(
        setting, "deterministic", seed=1, on_progress=lambda *_: None
    )
    course = trial.trajectory.sel(product="mfrr")
    hour = slice("2026-06-17T02:15", "2026-06-17T03:00")
    used = course["reserve_used_up"]
    sold = float(course["reserve_capacity"].sel(time="2026-06-17T02:15"))
    assert sold >= 0.3
    assert float(used.sum()) == pytest.approx(float(used.sel(time=hour).sum()))
    assert used.sel(time=hour).to_numpy()[1:] == pytest.approx(sold, abs=0.02)
    assert float(course["reserve_missed"].max()) < 0.02
    assert int(trial.violated_minutes.sum()) == 0
    assert float(course["reserve_capacity"].sel(time="2026-06-17T02:45")) == pytest.approx(sold)
    assert trial.settlement.accounts["activation"] < 0.0
