"""Banks of chillers."""

import numpy as np
import pytest
from pydantic import ValidationError

from sites.catalogue import standard_machines
from twin.equipment.chiller_plant import ChillerBank

CANONICAL = {"canonical": True}


@pytest.fixture(scope="module")
def published(chillers: ChillerBank) -> ChillerBank:
    """Return one unit of the data set's own size, free to unload as far as it was measured."""
    changes = {"count": 1, "rated_cooling": 0.8686, "minimum_part_load": 0.18}
    return ChillerBank.model_validate(chillers.model_dump() | changes, context=CANONICAL)


@pytest.mark.parametrize(("part_load", "power"), [(1.0, 160.97), (0.75, 100.51), (0.5, 56.38)])
def test_chiller_power_agrees_with_the_data_set(
    published: ChillerBank, part_load: float, power: float
) -> None:
    condenser = np.array(36.12)
    load = part_load * published.capacity(8.89, condenser)
    drawn, units = published.compressor_power_and_units(
        load, supply_temperature=8.89, condenser_temperature=condenser
    )
    assert 1000.0 * drawn == pytest.approx(power, rel=1e-3)
    assert units == 1.0


def test_no_unit_exceeds_the_best_chiller_on_the_market(published: ChillerBank) -> None:
    """Proves: half load at 7.22 and 36.94 degC is at 0.78 of Carnot: 280.37 / 29.72 = 9.434.

    So 7.358 MW of cooling for a MW. Sensitivity: 7.77 by the curves alone, 0.82 of Carnot.
    """
    condenser = np.array(36.94)
    load = 0.5 * published.capacity(7.22, condenser)
    drawn, _ = published.compressor_power_and_units(
        load, supply_temperature=7.22, condenser_temperature=condenser
    )
    assert load / drawn == pytest.approx(7.358, rel=1e-3)


def test_each_curve_has_the_range_of_its_own_fit(published: ChillerBank) -> None:
    """Proves: the part-load curve is taken at 35 degC when the condenser water is warmer.

    Half of the load takes 0.3544 of full power there. Sensitivity: extrapolated to 36.12 degC it
    gives 0.3502, as the bare curve of validation case 4 does.
    """
    fit = {"condenser_low": 14.4, "condenser_high": 35.0}
    fitted = ChillerBank.model_validate(
        published.model_dump() | {"eir_part_load_fit": fit}, context=CANONICAL
    )
    condenser, full = np.array(36.12), 0.16097
    load = 0.5 * fitted.capacity(8.89, condenser)
    powers = [
        float(
            one.compressor_power_and_units(
                load, supply_temperature=8.89, condenser_temperature=condenser
            )[0]
        )
        for one in (fitted, published)
    ]
    # 0.1317677 - 0.00750196 x + 5.073e-6 x^2 + 0.42753715 - 0.155399675 + 0.003633951 x + 0.0796694
    # is 0.3543974 at 35 degC and 0.3504684 at 36.12; both over 1.0002 or so at full load
    assert powers[0] / full == pytest.approx(0.3544, rel=1e-3)
    assert powers[1] / full == pytest.approx(0.3502, rel=1e-3)
    flags = [
        bool(
            one.is_extrapolated(
                load, supply_temperature=8.89, condenser_temperature=condenser, units_on=np.ones(())
            )
        )
        for one in (fitted, published)
    ]
    assert flags == [True, False]


@pytest.mark.parametrize(
    ("part_load", "chilled", "condenser", "is_outside"),
    [
        (0.5, 10.0, 30.0, False),
        (0.25, 10.0, 30.0, True),  # below the fit of the part-load curve
        (0.1, 10.0, 30.0, True),  # the unit cycles at 0.2, which is below it too
        (0.5, 7.0, 30.0, True),  # colder chilled water than that of the fit: the power is too low
        (0.5, 14.0, 30.0, False),  # warmer: taken as colder, on the safe side
        (0.5, 10.0, 20.0, False),  # a colder condenser: taken as warmer
        (0.5, 10.0, 37.0, True),
    ],
)
def test_clipping_that_is_not_conservative_is_flagged(
    published: ChillerBank, part_load: float, chilled: float, condenser: float, is_outside: bool
) -> None:
    changes = {"eir_part_load_fit": {"part_load_low": 0.3}, "minimum_part_load": 0.2}
    bank = ChillerBank.model_validate(published.model_dump() | changes, context=CANONICAL)
    warm = np.array(condenser)
    point = {"supply_temperature": chilled, "condenser_temperature": warm}
    load = part_load * bank.capacity(chilled, warm)
    assert bool(bank.is_extrapolated(load, **point, units_on=np.ones(()))) is is_outside
    assert not bank.is_extrapolated(0.0 * load, **point, units_on=np.zeros(()))


def test_part_load_curve_is_clipped_at_its_least_load(published: ChillerBank) -> None:
    """Proves: between the least load of the machine and of the fit the power stays.

    Sensitivity: extrapolated it falls, up to 50 % too far in a comparison with EnergyPlus.
    """
    changes = {"eir_part_load_fit": {"part_load_low": 0.6}, "minimum_part_load": 0.5}
    bank = ChillerBank.model_validate(published.model_dump() | changes, context=CANONICAL)
    warm = np.array([30.0, 30.0])
    load = np.array([0.52, 0.6]) * bank.capacity(10.0, warm)
    low, high = bank.compressor_power_and_units(
        load, supply_temperature=10.0, condenser_temperature=warm
    )[0]
    assert low == pytest.approx(high)


def test_best_chiller_bound_falls_with_wear(published: ChillerBank) -> None:
    """Proves: a tenth more power is a tenth more at the bound too; a better one stays at it."""
    condenser = np.array(36.94)
    load = 0.5 * published.capacity(7.22, condenser)
    clean, worn, better = (
        published.model_copy(update={"eir_factor": factor}).compressor_power_and_units(
            load, supply_temperature=7.22, condenser_temperature=condenser
        )[0]
        for factor in (1.0, 1.1, 0.9)
    )
    assert worn == pytest.approx(1.1 * clean)
    assert better == pytest.approx(clean)


def test_warmer_condensers_save_nothing_at_low_load(published: ChillerBank) -> None:
    """Proves: 0.16 MW at 18 degC takes 13 kW at 22.63 degC and more at 36.94, and half takes half.

    Sensitivity: 6.6 kW at 36.94 degC by the curves alone, a COP of 24 where Carnot's is 15.4.
    """
    load = np.array([0.02, 0.08, 0.16, 0.24, 0.32, 0.4])[:, None]
    condenser = np.linspace(22.63, 36.94, 40)
    drawn, _ = published.compressor_power_and_units(
        load, supply_temperature=18.0, condenser_temperature=condenser
    )
    assert np.all(drawn[:, 1:] >= (1 - 1e-4) * drawn[:, :-1])
    assert drawn[2, 0] == pytest.approx(0.013, rel=0.03)
    assert drawn[1] == pytest.approx(0.5 * drawn[2])


@pytest.mark.parametrize("supply", [7.22, 8.0, 9.5, 12.78, 21.0])
def test_no_load_gains_from_warmer_condensers(published: ChillerBank, supply: float) -> None:
    load, condenser = np.meshgrid(np.linspace(0.0, 0.85, 60), np.linspace(22.63, 36.94, 60))
    drawn, _ = published.compressor_power_and_units(
        load, supply_temperature=supply, condenser_temperature=condenser
    )
    assert np.all(drawn[1:] >= (1 - 1e-4) * drawn[:-1])
    assert np.all(np.diff(drawn, axis=1) >= -1e-12)


def test_valid_curves_are_followed_to_their_end() -> None:
    """Proves: 0.2 of the load of a 19XR of 2,391 kW draws what its curve says, 0.27 of Carnot."""
    entry = standard_machines("chillers")["carrier_19xr_2391"]
    known = {name: value for name, value in entry.items() if name in ChillerBank.model_fields}
    own = {"count": 1, "rated_cooling": "2.391 MW", "condenser_pump_power": "0 kW"}
    bank = ChillerBank.model_validate(known | own, context=CANONICAL)
    condenser = np.array(24.93)
    load = 0.2 * bank.capacity(6.67, condenser)
    drawn, _ = bank.compressor_power_and_units(
        load, supply_temperature=6.67, condenser_temperature=condenser
    )
    assert load / drawn == pytest.approx(0.27 * (6.67 + 273.15) / (24.93 - 6.67), rel=0.03)


def test_number_of_units_is_optimal(chillers: ChillerBank) -> None:
    load = np.linspace(0.5, 38.0, 40)
    condenser = np.full(40, 28.0)
    least, units = chillers.compressor_power_and_units(
        load, supply_temperature=18.0, condenser_temperature=condenser
    )
    for count in range(1, 9):
        fewer = chillers.model_copy(update={"count": count})
        carried = load <= fewer.capacity(18.0, condenser)
        power, _ = fewer.compressor_power_and_units(
            load, supply_temperature=18.0, condenser_temperature=condenser
        )
        assert np.all(least[carried] <= power[carried] * (1 + 1e-7))
    assert units[0] < units[-1] == 8.0


def test_power_rises_with_load_and_with_condenser_temperature(chillers: ChillerBank) -> None:
    load, condenser = np.meshgrid(np.linspace(0.0, 38.0, 77), np.linspace(20.0, 36.0, 33))
    power, units = chillers.compressor_power_and_units(
        load, supply_temperature=18.0, condenser_temperature=condenser
    )
    assert np.all(np.diff(power, axis=1) > 0.0)
    assert np.all(np.diff(power, axis=0) >= -1e-12)
    assert np.all(power[:, 0] == 0.0)
    assert np.all(units[:, 0] == 0.0)


def test_wear_raises_power(chillers: ChillerBank) -> None:
    given = {"supply_temperature": 18.0, "condenser_temperature": np.array(28.0)}
    worn = chillers.model_copy(update={"eir_factor": 1.1})
    clean, _ = chillers.compressor_power_and_units(np.array(20.0), **given)
    assert worn.compressor_power_and_units(np.array(20.0), **given)[0] == pytest.approx(1.1 * clean)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"eir_part_load_curve": (1.0, 0.0)}, "must have 10 coefficients"),
        (
            {"capacity_curve": (0.0,) * 6},
            "correct capacity_curve: it is 0 at chilled water of 7.22 and",
        ),
        # 1 - 22.63 x 0.05 = -0.1315; at 36.94: -0.847
        (
            {"eir_temperature_curve": (1.0, 0.0, 0.0, -0.05, 0.0, 0.0), "rated_cop": 1.5},
            "eir_temperature_curve: it is -0.565 at chilled water of 7.22 and condenser water",
        ),
        ({"eir_part_load_curve": (0.0,) * 10}, "eir_part_load_curve: it is 0 at .*above 0 in"),
        ({"condenser_low": 40.0}, "must be below"),
        ({"condenser_minimum": 38.0}, "must be below condenser_high"),
    ],
)
def test_invalid_parameters_are_refused(
    chillers: ChillerBank, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        ChillerBank.model_validate(chillers.model_dump() | changes, context=CANONICAL)
