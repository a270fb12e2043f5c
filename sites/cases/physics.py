"""Cases 2 to 6 of the founding requirements: single correlations against published numbers."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from sites.cases.case import Case
from twin.physics import FloatArray, air, chiller, cold_plate, electric, tower

_FLOWS: Final = (0.4, 0.6, 0.8, 1.0, 1.4, 2.0, 2.4)  # l/min
_RESISTANCES: Final = (0.0389, 0.0300, 0.0265, 0.0245, 0.0220, 0.0204, 0.0197)  # K/W
_TOWERS: Final = (  # wet bulb [degC], range [K], L/G [1] -> approach [K]
    ((25.56, 5.56, 1.0), 3.84),
    ((20.0, 6.0, 1.0), 5.38),
    ((20.0, 10.0, 1.0), 7.96),
    ((10.0, 10.0, 1.0), 11.95),
    ((20.0, 6.0, 0.75), 3.76),
)
_PART_LOADS: Final = ((1.0, 160.97), (0.75, 100.51), (0.5, 56.38), (0.25, 18.97))  # share, kW
_WET_BULBS: Final = (  # air [degC], humidity [%] -> wet bulb [degC]
    ((20, 50), 13.783),
    ((25, 50), 17.889),
    ((30, 40), 20.064),
    ((35, 30), 21.524),
    ((35, 50), 26.141),
    ((40, 20), 22.032),
    ((0, 80), -1.155),
    ((-5, 70), -6.335),
    ((15, 90), 14.010),
)
_UPS: Final = ((25, 97.0), (50, 97.3), (75, 97.0), (100, 96.4))  # load, efficiency [%]
_SUPPLIES: Final = {
    "UPS, eco mode": electric.UPS_ECO_MODE,
    "power supply, Titanium": electric.PSU_TITANIUM,
    "power supply, Ruby": electric.PSU_RUBY,
}
_KILOWATTS: Final = 1000.0  # in a MW
_CHILLED: Final = 8.89  # degC
_CONDENSER: Final = 36.12  # degC
_OCP: Final = "Open Compute Project, cold plate of the 1 kW accelerator module, PG25"
_EATON: Final = "Eaton, 9395XR data sheet (secondary source)"
_LABELS: Final = "80 PLUS, 230 V redundant"


def cases() -> Iterator[Case]:
    """Yield the cases of the physics."""
    yield from _cold_plate()
    yield Case(
        number=3,
        title="Approach of a cooling tower, YorkCalc",
        unit="K",
        points=tuple(f"{t:g} degC, {r:g} K, L/G {g:g}" for (t, r, g), _ in _TOWERS),
        expected=tuple(approach for _, approach in _TOWERS),
        tolerance=1e-3,
        source="EnergyPlus Engineering Reference, Variable Speed Cooling Towers",
        compute=_approaches,
    )
    yield Case(
        number=4,
        title="Chiller, reformulated EIR, Carrier 19XR of 869 kW",
        unit="kW",
        points=tuple(f"part load {share:g}" for share, _ in _PART_LOADS),
        expected=tuple(power for _, power in _PART_LOADS),
        tolerance=1e-3,
        source="EnergyPlus, DataSets/Chillers.idf, at 8.89 and 36.12 degC",
        compute=_chiller_powers,
    )
    yield Case(
        number=5,
        title="Wet bulb at 101.325 kPa",
        unit="degC",
        points=tuple(f"{air} degC, {humidity} %" for (air, humidity), _ in _WET_BULBS),
        expected=tuple(bulb for _, bulb in _WET_BULBS),
        tolerance=0.02,
        is_relative=False,
        source="ASHRAE Handbook, Fundamentals, chapter Psychrometrics, equations solved exactly",
        compute=_wet_bulbs,
    )
    yield from _efficiencies()


def _cold_plate() -> Iterator[Case]:
    yield Case(
        number=2,
        title="Resistance of a cold plate",
        unit="K/W",
        points=tuple(f"{flow:g} l/min" for flow in _FLOWS),
        expected=_RESISTANCES,
        tolerance=0.01,
        source=_OCP,
        compute=lambda: np.asarray(cold_plate.cold_plate_resistance(np.array(_FLOWS))),
    )
    yield Case(
        number=2,
        title="A plate at 1 kW, 40 degC, 1 l/min",
        unit="degC",
        points=("case", "outlet"),
        expected=(64.5, 55.0),
        tolerance=0.01,
        source=_OCP,
        compute=lambda: np.array(
            [
                cold_plate.cold_plate_case_temperature(1000.0, 40.0, flow=1.0),
                cold_plate.cold_plate_outlet_temperature(1000.0, 40.0, flow=1.0),
            ]
        ),
    )


def _approaches() -> FloatArray:
    bulb, span, ratio = np.array([point for point, _ in _TOWERS]).T
    return np.asarray(tower.yorkcalc_approach(bulb, span, liquid_gas_ratio=ratio))


def _chiller_powers() -> FloatArray:
    curves = chiller.CARRIER_19XR_869
    share = chiller.available_cooling_share(_CHILLED, _CONDENSER, curves=curves)
    loads = np.array([part for part, _ in _PART_LOADS]) * share * curves.rated_cooling
    power = chiller.chiller_power(
        loads,
        curves.rated_cooling,
        chilled_temperature=_CHILLED,
        condenser_temperature=_CONDENSER,
        curves=curves,
    )
    return np.asarray(_KILOWATTS * power)


def _wet_bulbs() -> FloatArray:
    temperature, humidity = np.array([point for point, _ in _WET_BULBS]).T
    return np.asarray(air.wet_bulb_temperature(temperature, humidity / 100.0))


def _efficiencies() -> Iterator[Case]:
    loads = np.array([load for load, _ in _UPS]) / 100.0
    yield _efficiency(
        "UPS, double conversion",
        tuple(efficiency / 100.0 for _, efficiency in _UPS),
        loads,
        loss=np.asarray(electric.ups_loss(loads, 1.0)),
    )
    for title, published in _SUPPLIES.items():
        shares, known = np.array(published).T
        loss = np.asarray(electric.loss_from_efficiency(shares, published))
        yield _efficiency(title, tuple(known.tolist()), shares, loss=loss)


def _efficiency(
    title: str, known: tuple[float, ...], loads: FloatArray, *, loss: FloatArray
) -> Case:
    return Case(
        number=6,
        title=title,
        unit="%",
        points=tuple(f"{load:.0%} of rating" for load in loads),
        expected=tuple(100.0 * efficiency for efficiency in known),
        tolerance=0.1,
        is_relative=False,
        source=_LABELS if title.startswith("power supply") else _EATON,
        compute=lambda: np.asarray(100.0 * electric.efficiency_from_loss(loads, loss)),
    )
