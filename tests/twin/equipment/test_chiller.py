"""Banks of chillers."""

import numpy as np
import pytest
from pydantic import ValidationError

from twin.equipment.chiller import ChillerBank

CANONICAL = {"canonical": True}


@pytest.fixture(scope="module")
def published(chillers: ChillerBank) -> ChillerBank:
    """Return one unit of the data set's own size, free to unload as far as it was measured."""
    changes = {"count": 1, "rated_cooling": 0.8686, "minimum_part_load": 0.18}
    return ChillerBank.model_validate(chillers.model_dump() | changes, context=CANONICAL)


@pytest.mark.parametrize(
    ("part_load", "power"), [(1.0, 160.97), (0.75, 100.51), (0.5, 56.38), (0.25, 18.97)]
)
def test_it_draws_what_the_data_set_says(
    published: ChillerBank, part_load: float, power: float
) -> None:
    condenser = np.array(36.12)
    load = part_load * published.capacity(8.89, condenser)
    drawn, units = published.power(load, supply_temperature=8.89, condenser_temperature=condenser)
    assert 1000.0 * drawn == pytest.approx(power, rel=1e-3)
    assert units == 1.0


def test_no_other_number_of_units_would_draw_less(chillers: ChillerBank) -> None:
    load = np.linspace(0.5, 38.0, 40)
    condenser = np.full(40, 28.0)
    least, units = chillers.power(load, supply_temperature=18.0, condenser_temperature=condenser)
    for count in range(1, 9):
        fewer = chillers.model_copy(update={"count": count})
        carried = load <= fewer.capacity(18.0, condenser)
        power, _ = fewer.power(load, supply_temperature=18.0, condenser_temperature=condenser)
        assert np.all(least[carried] <= power[carried] * (1 + 1e-7))
    assert units[0] < units[-1] == 8.0


def test_power_rises_with_load_and_with_condenser_temperature(chillers: ChillerBank) -> None:
    load, condenser = np.meshgrid(np.linspace(0.0, 38.0, 77), np.linspace(20.0, 36.0, 33))
    power, units = chillers.power(load, supply_temperature=18.0, condenser_temperature=condenser)
    assert np.all(np.diff(power, axis=1) > 0.0)
    assert np.all(np.diff(power, axis=0) >= -1e-12)
    assert np.all(power[:, 0] == 0.0)
    assert np.all(units[:, 0] == 0.0)


def test_wear_raises_the_power(chillers: ChillerBank) -> None:
    given = {"supply_temperature": 18.0, "condenser_temperature": np.array(28.0)}
    worn = chillers.model_copy(update={"eir_factor": 1.1})
    clean, _ = chillers.power(np.array(20.0), **given)
    assert worn.power(np.array(20.0), **given)[0] == pytest.approx(1.1 * clean)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"eir_part_load_curve": (1.0, 0.0)}, "must have 10 coefficients"),
        ({"condenser_low": 40.0}, "must be below"),
        ({"condenser_minimum": 38.0}, "must be below condenser_high"),
    ],
)
def test_faults_are_told(chillers: ChillerBank, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ChillerBank.model_validate(chillers.model_dump() | changes, context=CANONICAL)
