"""Time to limit against numbers worked out by hand."""

import numpy as np
import pytest

import sites
from tests.support.heat_pump_site import heated
from tests.support.runs import ordered, steady
from twin.contingency.contingencies import find_contingency
from twin.contingency.ride_through_time import (
    contingency_trajectory,
    faulted_circuits,
    prefault_state,
    time_to_limit,
)
from twin.equipment import ChilledWaterTank
from twin.errors import StateError
from twin.physics.electrical_equipment import transformer_overload_time, ups_overload_time
from twin.simulation import state
from twin.simulation.simulate import settled_state, simulate
from twin.site_settings import ResilienceSettings

RHINE = sites.load_site("rhine")
SMALL = sites.load_site("small")


def planned(site, **values):
    """Return a site with other provisions against failures."""
    return site.model_copy(
        update={
            "contingency": ResilienceSettings.model_validate(values, context={"canonical": True})
        }
    )


def minutes(site, name, *, share=0.6, air=20.0, level=0.5, operation=None):
    operation = steady(site, share=share, air=air, count=1) if operation is None else operation
    start = state.initial_state(site, operation["time"].to_numpy()[0], level=level)
    found = time_to_limit(site, start, operation, contingencies=[find_contingency(site, name)])
    return float(found["time_to_limit"][0, 0]), str(found["limit"][0, 0].to_numpy())


def path(site, name, *, share=1.0, air=20.0, length=10):
    operation = steady(site, share=share, air=air, count=1)
    start = state.initial_state(site, operation["time"].to_numpy()[0], level=0.5)
    return contingency_trajectory(
        site, start, operation, contingency=find_contingency(site, name), minutes=length
    )


def test_loop_without_rejection_warms_by_heat_over_capacity():
    # 500 m3 x 995.6 kg/m3 x 4.18 kJ/(kg K) = 2.081 GJ/K; 164 MW / 2.081 GJ/K = 4.73 K/min
    loop = RHINE.equipment["warm_plant"].loop.model_copy(update={"volume": 500.0})
    site = RHINE.with_parameters("warm_plant", loop=loop)
    site = planned(site, coolant_residence=0.01, plate_lag=0.01)  # nothing else keeps heat
    water = path(site, "warm_plant")["facility_supply_temperature"].sel(circuit="warm_plant")
    operation = steady(site, share=1.0, air=20.0, count=1)
    load = float(
        simulate(site, state.initial_state(site), operation)["cooling_load"].sel(
            circuit="warm_plant"
        )[0]
    )
    assert np.diff(water)[2:] == pytest.approx(4.73 * load / 164.0, rel=2e-3)
    # from 38 to 45 degC
    found, limit = minutes(site, "warm_plant", share=1.0)
    assert found == pytest.approx(7.0 / (4.73 * load / 164.0), rel=5e-3)
    assert limit == "supply limit of warm_plant"


def test_failed_cdu_pump_reduces_coolant_flow():
    # 159.3 of 182 MW: flow .875; alone on its manifold one keeps .5 of the rating, .5675 of what
    # carries pump heat too. 1.575 -> .894 l/min: R .02146 -> .02549 K/W, 25.71 -> 30.54 K.
    site = planned(RHINE, cdu_group=1, cdu_pump_flow=0.5)
    end = path(site, "cdu_1/017/pump").isel(instant=-1)
    above = end["full_load_chip_temperature"] - end["technology_supply_temperature"].sel(
        cdu="cdu_1"
    )
    assert above.to_numpy() == pytest.approx([30.54, 30.54], abs=0.02)


def test_losing_the_only_cdu_throttles_within_seconds():
    found, limit = minutes(planned(RHINE, cdu_group=1), "cdu_17", share=1.0)
    assert limit == "throttling in hall_1"
    assert 1.0 / 60.0 < found < 1.0


def test_tank_bridges_for_its_content_over_the_load():
    # Whatever else warms meanwhile, it bridges longer by E / Q than an empty one.
    operation = steady(RHINE, share=0.4, air=20.0, count=1)
    empty, _ = minutes(RHINE, "chilled_plant", level=0.0, operation=operation)
    half, _ = minutes(RHINE, "chilled_plant", level=0.5, operation=operation)
    start = state.initial_state(RHINE, operation["time"].to_numpy()[0], level=0.5)
    load = simulate(RHINE, start, operation)["cooling_load"].sel(circuit="chilled_plant")
    tank = next(store for store in RHINE.stores if store.owner == "tank_1")
    kept = float(start["tank_level"].sel(tank="tank_1")) - tank.min_level
    assert float(load[0]) < tank.discharge_limit
    assert half - empty == pytest.approx(60.0 * kept / float(load[0]), rel=5e-3)


def two_tanks(site, one, other):
    """Return a site with its tank twice, and the state in which they keep some shares."""
    (tank,) = site.machines_of(ChilledWaterTank)
    second = tank.model_copy(update={"name": "tank_2"})
    site = site.with_equipment({**site.equipment, "tank_2": second})
    shares = np.array([one, other])
    levels = [
        store.min_level + share * (store.max_level - store.min_level)
        for store, share in zip(site.stores[-2:], shares, strict=True)
    ]
    start = state.initial_state(site)
    return site, start.assign(tank_level=start["tank_level"].copy(data=levels))


def test_empty_tank_beside_a_full_one_gives_nothing():
    """Proves: without its plant `small` has as long with both as with the full one alone.

    Each gives 0.3 of the 0.6 MW that are lacking: 3.3 min. Sensitivity: 41 min, if the full one
    gave what both can.
    """
    operation = steady(SMALL, share=0.9, air=25.0, count=1)
    trip = find_contingency(SMALL, "chilled_plant")
    alone = time_to_limit(
        SMALL, state.initial_state(SMALL, level=1.0), operation, contingencies=[trip]
    )
    site, start = two_tanks(SMALL, 0.0, 1.0)
    both = time_to_limit(site, start, operation, contingencies=[trip])
    np.testing.assert_allclose(both["time_to_limit"], alone["time_to_limit"], rtol=1e-9)
    shown = contingency_trajectory(site, start, operation, contingency=trip, minutes=5)
    assert (shown["tank_discharge"].sel(tank="tank_1") == 0.0).all()
    assert float(shown["tank_discharge"].sel(tank="tank_2")[-1]) == pytest.approx(0.3)
    assert np.ptp(shown["tank_level"].sel(tank="tank_1").to_numpy()) == 0.0


def test_two_tanks_share_the_deficit_until_one_is_empty():
    """Proves: of 0.3 MW each, one with 0.02 and one with 0.8 of its energy bridge less than two
    with 0.41, and more than none and one with 0.82: the first ends early, the other goes on."""
    operation = steady(SMALL, share=0.9, air=25.0, count=1)
    found = []
    for shares in ((0.0, 0.82), (0.02, 0.8), (0.41, 0.41)):
        site, start = two_tanks(SMALL, *shares)
        trip = find_contingency(site, "chilled_plant")
        times = time_to_limit(site, start, operation, contingencies=[trip])["time_to_limit"]
        found.append(float(times[0, 0]))
    assert found[0] < found[1] < found[2]


def test_failure_of_a_discharging_tank_has_an_effect():
    # The chillers that run take up at once what they can; the water warms until the others start.
    site = RHINE.with_parameters("tank_1", power="40 MW")
    operation = steady(site, share=0.9, air=20.0, count=1)
    ordered_discharge = ordered(operation, "tank_discharge", "tank", tank_1=20.0)
    start = state.initial_state(site, operation["time"].to_numpy()[0], level=0.5)
    settled = simulate(site, start, ordered_discharge)
    start["cooling_plant_output"] = settled["cooling_plant_output"].isel(time=-1, drop=True)
    trip = find_contingency(site, "tank_1")
    calm, lost = (
        contingency_trajectory(site, start, ordered_discharge, contingency=t, minutes=30)
        for t in (None, trip)
    )
    water = [p["facility_supply_temperature"].sel(circuit="chilled_plant") for p in (calm, lost)]
    assert np.ptp(water[0].to_numpy()) == pytest.approx(0.0, abs=0.01)
    assert float(water[1].max()) > 19.0
    assert float(calm["tank_discharge"].min()) == pytest.approx(20.0)
    # a tank that rests is not missed
    resting = minutes(site, "tank_1", operation=operation)
    assert resting == (np.inf, "")


def test_failed_heat_pump_leaves_heat_in_the_warm_water():
    site = heated()
    operation = ordered(
        steady(site, share=0.6, air=-10.0, count=1), "heat_reuse_power", "heat_reuse", pump=0.8
    )
    situation = prefault_state(site, state.initial_state(site), operation)
    warm = faulted_circuits(situation)[0]
    before, after = (
        sum(warm.after_contingency(t).external_heat) for t in (None, find_contingency(site, "pump"))
    )
    source = situation.values("heat_reuse_source_heat", "pump")
    assert after - before == pytest.approx(source)
    assert float(source[0]) > 0.5


def test_ordered_set_point_is_held_after_a_failure():
    operation = steady(RHINE, share=1.0, air=10.0, count=1)
    cool = operation.assign_coords(circuit=["warm_plant", "chilled_plant"]).assign(
        facility_supply_set_point=(("time", "circuit"), [[30.0, 18.0]], {"units": "degC"})
    )
    start = state.initial_state(RHINE, operation["time"].to_numpy()[0])
    start["facility_supply_temperature"].loc[{"circuit": "warm_plant"}] = 30.0
    trip = find_contingency(RHINE, "warm_plant/pump_1")
    steered = contingency_trajectory(RHINE, start, cool, contingency=trip, minutes=60)
    left = contingency_trajectory(RHINE, start, operation, contingency=trip, minutes=60)
    ends = [
        float(p["facility_supply_temperature"].sel(circuit="warm_plant")[-1])
        for p in (steered, left)
    ]
    assert ends == pytest.approx([30.0, 38.0], abs=0.1)


def test_without_a_failure_nothing_changes():
    operation = steady(RHINE, share=0.8, air=20.0, count=1)
    start = settled_state(RHINE, operation)
    calm = contingency_trajectory(RHINE, start, operation, contingency=None, minutes=30)
    for values in calm.values():
        assert np.ptp(values.to_numpy(), axis=0) == pytest.approx(0.0, abs=1e-6)


def test_remaining_supply_bears_its_overload():
    # 105 % for 10 min, 120 % for 1 min, 140 % for 10 s, 160 % not at all
    assert ups_overload_time(np.array([0.9, 1.05, 1.2, 1.4, 1.6])) == pytest.approx(
        [np.inf, 10.0, 1.0, 1.0 / 6.0, 0.0]
    )
    # oil 52 [(1 + 5 x .64) / 6]^.8 = 39.09 K, in the end 52 [(1 + 5 x 1.44) / 6]^.8 = 66.76 K; the
    # hot spot 26 x 1.2^1.3 = 32.95 K above; at 45 degC 62.05 K are left, after
    # -75 ln(1 - 22.96 / 27.67) = 132.8 min
    found = transformer_overload_time(
        np.array([1.2, 1.2]), 0.8, air_temperature=np.array([45.0, 20.0]), loss_ratio=5.0
    )
    assert found == pytest.approx([132.8, np.inf], rel=3e-3)
    other = transformer_overload_time(-1.2, -0.8, air_temperature=45.0, loss_ratio=5.0)
    assert float(other) == pytest.approx(132.8, rel=3e-3)


def test_result_of_another_operation_is_refused():
    operation = steady(RHINE, count=4)
    start = state.initial_state(RHINE, operation["time"].to_numpy()[0])
    result = simulate(RHINE, start, operation)
    with pytest.raises(StateError, match=r"result = .*\[wrong-axes\]"):
        time_to_limit(RHINE, start, operation.isel(time=[0], instant=[0, 1]), result=result)
