"""Rows carry their label, unit, sense and intervals from the place where they are built."""

import numpy as np
import pytest

from optimizer.compiler.structure import compile_model
from optimizer.diagnostics.binding_limits import binding_limits
from optimizer.diagnostics.sensitivity import limit_values
from optimizer.model.formulation import signature_of
from optimizer.model.model_data import build_model_data
from optimizer.planner.schedule import build_schedule
from tests.support import hand, heat_pump_site, reserve_days, small_days
from tests.support.reserve_sites import ahead, held_by, product
from twin.site_settings import SafetyMargins


def limits_of(problem):
    return compile_model(signature_of(build_model_data(problem))).constant_arrays.limits


def by_name(problem):
    return {(limit.name, limit.is_lower_bound): limit for limit in limits_of(problem)}


def test_row_knows_its_intervals():
    """Proves: ramps after the first interval, levels at the end of theirs, and no past capacity."""
    where = held_by(hand.battery(), product(duration=2.0), connection=hand.grid(ramp=0.01))
    found = by_name(hand.problem(where, ahead([10.0] * 3), level=0.5))
    assert found["grid.ramp_up", False].intervals.tolist() == [1, 2]
    assert found["grid.first_up", False].intervals.tolist() == [0]
    assert found["battery.level", True].intervals.tolist() == [-1, 0, 1, 2]
    assert found["battery.energy_up", False].intervals.tolist() == [1, 2]
    *before, first, second, third = found["battery.capacity_fcr", False].intervals.tolist()
    assert (first, second, third) == (0, 1, 2)
    assert set(before) == {-1}
    assert found["battery.energy_at_end_up", False].intervals.tolist() == [0, 1, 2]


def test_row_knows_its_sense():
    found = by_name(hand.problem(tapering(), hand.outlook([10.0] * 2), level=0.5))
    assert ("battery.taper_discharge_limit", True) in found
    assert ("battery.taper_charge_limit", False) in found


@pytest.mark.parametrize("make", [small_days.problem, reserve_days.problem, heat_pump_site.problem])
def test_limits_of_a_site_are_complete(make):
    """Proves: each limit has a unit and an owner; others only move along with a declared one."""
    found = limits_of(make())
    labels = {(limit.owner, limit.spec.label) for limit in found}
    assert len(labels) > 20
    for limit in found:
        assert limit.spec.unit in {"MW", "MWh", "rack", "unit", "kg", "m3"}
        assert bool(limit.owner) != limit.block.startswith("work")
        moved = {(limit.owner, label) for label in limit.spec.relaxed_with}
        assert limit.spec.label or moved
        assert moved <= labels


def tapering():
    """Return a site whose battery may not stop faster than the ramp of the connection."""
    store = hand.battery(capacity=4.0, power=2.0)
    return hand.site(store, connection=hand.grid(ramp=0.02))


def test_energy_near_an_end_of_the_window_is_valued_on_both_sides():
    """Proves: the taper keeps energy in the battery at a price of 80 EUR; a MWh less saves it.

    Sensitivity: no value, if a row with a lower bound is relaxed upwards; MW as its unit.
    """
    plan = hand.solved(tapering(), hand.outlook([10.0, 80.0, 80.0], service=3.0), level=1.0)
    schedule = build_schedule(plan)
    label = "power of the store near an end of its window (battery)"
    worth = {one.limit: one for one in limit_values(plan, schedule)}
    assert worth[label].unit == "MWh"
    assert worth[label].marginal_value > 0.0
    assert {one.unit for one in binding_limits(plan, schedule) if one.limit == label} <= {"MWh"}


def test_heat_pump_keeps_the_power_margin():
    """Proves: its curve ends at its limit less the margin, so a MW more is less than one in a plan.

    Sensitivity: without it, the value of a MW of heat is too high by the margin.
    """
    problem = heat_pump_site.problem(**heat_pump_site.HUNGRY)
    limit = by_name(problem)["pump.segment", False]
    assert limit.label == "heat that the network takes, or the machine can give (pump)"
    assert limit.spec.margin_name == "power"


def test_connection_owns_the_headroom_of_its_reserves():
    where = held_by(hand.battery(), product(), margins=SafetyMargins())
    found = by_name(hand.problem(where, ahead([10.0] * 2), level=0.5))
    label = found["reserves.import_headroom", False].label
    assert label == "connection, with reserves used downwards (grid)"


def test_weather_is_named_without_a_price():
    """Proves: sun limits a plan, and explanations of infeasible problems name it."""
    sunny = hand.outlook([10.0] * 2, sun=[1.0, 1.0])
    found = by_name(hand.problem(hand.site(hand.source()), sunny))
    assert not found["sun.import_power", False].spec.is_priced
    assert found["grid.import_power", False].spec.is_priced


def test_shares_leave_out_what_is_given():
    """Proves: the initial level is no limit, nor is power where none is allowed."""
    found = by_name(hand.problem(hand.site(hand.battery()), hand.outlook([10.0] * 2), level=0.5))
    numbers = {"battery.charge_max": np.array([0.0, 1.0])}
    charge, level = found["battery.charge", False], found["battery.level", False]
    assert charge.changes_per_unit(charge.spec.change_per_unit, numbers, (2,)).tolist() == [
        0.0,
        1.0,
    ]
    assert level.changes_per_unit(level.spec.change_per_unit, numbers, (3,)).tolist() == [
        0.0,
        1.0,
        1.0,
    ]
