"""Plants of one circuit: laws that hold in every weather, and independently computed points."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sites.loading import load_site
from tests.support.random_sites import random_site
from tests.support.seeds import seeds
from twin import variables
from twin.equipment.cooling_plant import CoolingPlant

LOADS = np.linspace(0.0, 1.0, 12)[:, None]


@pytest.fixture(scope="session")
def dry_plant(chilled_plant: CoolingPlant, dry_cooler: Any) -> CoolingPlant:
    """Return chillers whose condensers go to dry coolers with pads, without an economiser."""
    pads = {"count": 64, "pad_effectiveness": 0.8, "pad_threshold": 22.0}
    return chilled_plant.with_values(
        rejection=dry_cooler.model_dump() | pads, economiser_approach=None
    )


@pytest.fixture(scope="session", params=["warm_plant", "chilled_plant", "dry_plant"])
def plant(request: pytest.FixtureRequest) -> CoolingPlant:
    return request.getfixturevalue(request.param)


def draw(plant: CoolingPlant, weather: Any) -> np.ndarray:
    return plant.operate(plant.rated_cooling * LOADS, weather).inputs["medium_voltage"]


bulbs = st.tuples(st.floats(-20.0, 42.0), st.floats(0.0, 18.0))
warmings = st.tuples(st.floats(0.0, 5.0), st.floats(0.0, 1.0))


@settings(max_examples=40, deadline=None)
@given(air=bulbs)
def test_energy_closes_and_nothing_is_negative(plant, outdoors, air) -> None:
    load = plant.rated_cooling * LOADS
    flows = plant.operate(load, outdoors(air[0], air[0] - air[1]))
    np.testing.assert_allclose(flows.heat, load + flows.inputs["medium_voltage"], rtol=1e-12)
    parts = [flows.details[f"cooling_plant_{role}_power"] for role in ("fan", "pump", "compressor")]
    np.testing.assert_allclose(sum(parts), flows.inputs["medium_voltage"], rtol=1e-12)
    assert flows.details
    for name, values in flows.details.items():
        variables.variable_definition(name)
        assert np.all(values >= 0.0), name
    assert np.all(flows.inputs["water"] >= 0.0)


@settings(max_examples=40, deadline=None)
@given(air=bulbs, change=warmings)
def test_warmer_weather_never_costs_less_or_allows_more(plant, outdoors, air, change) -> None:
    dry, wet = air[0], air[0] - air[1]
    cool, warm = outdoors(dry, wet), outdoors(dry + change[0], wet + change[0] * change[1])
    assert np.all(draw(plant, warm) >= draw(plant, cool) - 1e-6)
    assert plant.max_output(warm) <= plant.max_output(cool) + 1e-6


@settings(max_examples=40, deadline=None)
@given(air=bulbs, drop=st.floats(0.0, 5.0))
def test_colder_wet_bulb_never_costs_more(plant, outdoors, air, drop) -> None:
    dry, wet = air[0], air[0] - air[1]
    assert np.all(draw(plant, outdoors(dry, wet - drop)) <= draw(plant, outdoors(dry, wet)) + 1e-6)


@settings(max_examples=40, deadline=None)
@given(air=bulbs)
def test_more_load_never_costs_less(plant, outdoors, air) -> None:
    assert np.all(np.diff(draw(plant, outdoors(air[0], air[0] - air[1])), axis=0) >= -1e-6)


def test_fans_reject_the_load_at_the_set_point(warm_plant: CoolingPlant, outdoors) -> None:
    weather = outdoors(25.0, 18.0)
    flows = warm_plant.operate(np.array([160.0]), weather)
    fans = flows.details["cooling_plant_fan_power"]
    rated = warm_plant.rejection.count * warm_plant.rejection.fan_power
    leaving = warm_plant.rejection.leaving_temperature(
        flows.details["cooling_plant_rejected_heat"],
        capacity_rate=np.array(16.0),  # 160 MW over 10 K
        weather=weather,
        speed=(fans / rated) ** (1.0 / warm_plant.rejection.fan_exponent),
    )
    assert leaving == pytest.approx(38.0, abs=1e-3)


def test_capacity_is_full_speed_cooling_and_rises_with_supply(
    warm_plant: CoolingPlant, outdoors
) -> None:
    weather = outdoors(30.0, 20.0)
    at_38, at_39, at_40 = (warm_plant.capacity(weather, t)[0] for t in (38.0, 39.0, 40.0))
    # Linear in the distance to the air, 8 K, besides the pumps' 2.1 MW.
    assert at_40 - at_39 == pytest.approx(at_39 - at_38)
    assert (at_40 + 2.1) / (at_38 + 2.1) == pytest.approx(10.0 / 8.0)
    assert warm_plant.capacity(outdoors(40.0, 20.0), 39.0) == 0.0


def test_fan_speed_is_optimal(chilled_plant: CoolingPlant, outdoors) -> None:
    weather = outdoors(np.linspace(-5.0, 35.0, 15), np.linspace(-6.0, 22.0, 15))
    load = np.full(15, 30.0)
    least = chilled_plant.operate(load, weather).inputs["medium_voltage"]
    for speed in np.linspace(0.35, 0.99, 17):  # the machine's choice is closer from above
        slower = chilled_plant.with_values(
            rejection=chilled_plant.rejection.model_dump() | {"minimum_speed": speed}
        )
        other = slower.operate(load, weather).inputs["medium_voltage"]
        assert np.all(least <= 1.01 * other)


def test_water_keeps_flowing_in_frost(warm_plant: CoolingPlant, outdoors) -> None:
    # the least flow rises from 0.3 to 0.6 of the rated one, and with it the power of the pumps
    moved = warm_plant.with_values(frost_flow=0.6)
    weather = outdoors([2.9, 3.0], 1.0)
    found = moved.operate(np.array([1.0, 1.0]), weather).details
    flow, pump = found["cooling_plant_flow"], found["cooling_plant_pump_power"]
    assert flow[0] == pytest.approx(2.0 * flow[1])
    # static share 0.1, shut-off 1.25: head 0.1 + 0.9 v2, power v times that
    assert pump == pytest.approx(2.1 * np.array([0.6 * 0.424, 0.3 * 0.181]))


def test_blow_down_is_make_up_less_evaporation(chilled_plant: CoolingPlant, outdoors) -> None:
    # at four cycles make-up is 4/3 of the evaporation, and blow-down a third: a quarter of it
    found = chilled_plant.operate(np.array([30.0]), outdoors(30.0, 20.0))
    assert found.inputs["water"][0] > 10.0
    assert found.details["cooling_plant_blow_down"] == pytest.approx(found.inputs["water"] / 4.0)


def test_frost_cools_without_compressors(chilled_plant: CoolingPlant, outdoors) -> None:
    details = chilled_plant.operate(np.array([30.0]), outdoors(-5.0, -6.0)).details
    assert details["cooling_plant_free_share"] == pytest.approx(1.0)
    assert details["cooling_plant_compressor_power"] == 0.0
    assert details["cooling_plant_units_on"] == 0.0


def test_hot_afternoon_needs_chillers_at_a_plausible_cop(
    chilled_plant: CoolingPlant, outdoors
) -> None:
    details = chilled_plant.operate(np.array([33.0]), outdoors(35.0, 24.0)).details
    assert details["cooling_plant_free_share"] < 0.05
    assert 6.0 < 33.0 / details["cooling_plant_compressor_power"][0] < 10.0


def test_condensers_stay_below_their_temperature_limit(dry_plant: CoolingPlant, outdoors) -> None:
    weather = outdoors([35.0, 40.0, 45.0], 22.0)
    limit = dry_plant.max_output(weather)
    details = dry_plant.operate(limit, weather).details
    assert np.all(limit > 0.0)
    assert np.all(details["cooling_plant_condenser_temperature"] <= 36.94 + 1e-3)


def test_leading_axes_are_kept(plant: CoolingPlant, outdoors) -> None:
    weather = outdoors(np.linspace(0.0, 35.0, 6), np.linspace(-1.0, 20.0, 6))
    load = plant.rated_cooling * np.linspace(0.1, 0.9, 4)[:, None] * np.ones(6)
    whole = plant.operate(load, weather)
    for i in range(4):
        row = plant.operate(load[i], weather)
        for carrier, values in row.inputs.items():
            np.testing.assert_allclose(whole.inputs[carrier][i], values, rtol=1e-9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"supply_limit": 38.2}, "supply_limit less supply_margin"),
        ({"economiser_approach": 2.0}, "the plant has no chillers"),
        ({"rejection": {"kind": "pond"}}, "does not match any of the expected tags"),
        ({"minimum_flow": 0.0}, "must be above 0"),
    ],
)
def test_invalid_parameters_are_refused(
    warm_plant: CoolingPlant, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        warm_plant.with_values(**changes)


def test_texts_with_units_are_read(chilled_plant: CoolingPlant) -> None:
    read = CoolingPlant.model_validate(
        chilled_plant.model_dump() | {"economiser_approach": "2 K"}, context={"canonical": True}
    )
    assert read == chilled_plant
    with pytest.raises(ValidationError, match="economiser_approach"):
        CoolingPlant.model_validate(chilled_plant.model_dump())


@pytest.mark.parametrize("seed", seeds(range(12)))
def test_colder_air_never_costs_more_at_random_sites(seed: int, outdoors) -> None:
    """At any load, to 0.1 %: between the fan speeds that are tried the sum is flat.

    By the curves of chillers alone this would not hold: at little load and little lift they ask
    for up to a fifth more than with more lift.
    """
    loads = np.linspace(0.02, 1.0, 25)[:, None]
    bulbs = np.arange(-5.0, 27.0, 2.0)
    plants = [*random_site(seed).machines_of(CoolingPlant)]
    assert plants
    for plant in plants:
        weather = outdoors(bulbs + 6.0, bulbs)
        drawn = plant.operate(loads * plant.rated_cooling, weather).inputs["medium_voltage"]
        for cold, warm in itertools.pairwise(drawn.T):
            assert (cold <= 1.001 * warm).all()


@pytest.mark.parametrize("seed", seeds(range(6)))
def test_no_plant_exceeds_the_best_chillers_on_the_market(seed: int, outdoors) -> None:
    """Proves: what compressors carry at random sites takes at least 1 / 0.78 of Carnot's power.

    Sensitivity: up to 1.6 of Carnot's COP where the curves are followed to their least load.
    """
    loads = np.linspace(0.02, 1.0, 25)[:, None]
    bulbs = np.arange(-5.0, 35.0, 2.0)
    plants = [*random_site(seed).machines_of(CoolingPlant)]
    plants = [plant for plant in plants if plant.chillers is not None]
    assert plants
    for plant in plants:
        found = plant.operate(loads * plant.rated_cooling, outdoors(bulbs + 8.0, bulbs)).details
        carried = loads * plant.rated_cooling * (1.0 - found["cooling_plant_free_share"])
        supply = plant.supply_temperature
        lift = found["cooling_plant_condenser_temperature"] - supply
        least = carried * lift / (supply + 273.15) / 0.78
        assert least.max() > 0.0
        assert np.all(found["cooling_plant_compressor_power"] >= 0.999 * least)


def test_fan_speed_grid_is_fine_enough_for_slow_fans(outdoors) -> None:
    """Proves: behind the dry coolers of a site, down to 0.15, no other least speed would save 3 %.

    Sensitivity: 7 % with seven speeds between the least and full speed.
    """
    plant = load_site("iberia").equipment["chilled_plant"]
    assert isinstance(plant, CoolingPlant)
    weather = outdoors(np.arange(10.0, 22.0), np.arange(5.0, 17.0))
    cooling = np.array([0.2, 0.3, 0.5])[:, None] * plant.rated_cooling * np.ones(len(weather))
    drawn = []
    for speed in (0.15, *np.linspace(0.16, 0.6, 30)):
        other = plant.with_values(rejection=plant.rejection.model_dump() | {"minimum_speed": speed})
        drawn.append(other.operate(cooling, weather).inputs["medium_voltage"])
    assert plant.rejection.minimum_speed == 0.15
    assert np.all(drawn[0] <= 1.03 * np.min(drawn, axis=0))
