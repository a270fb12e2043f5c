"""Validation cases of single components against published numbers and textbook formulas."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from sites.catalogue import apply_standards
from sites.validation.cases import ValidationCase
from twin.equipment.chiller_plant import ChillerBank
from twin.equipment.cooling_plant import CoolingLoop
from twin.physics import (
    FloatArray,
    electrical_equipment,
    fluid_flow,
    heat_exchangers,
    heat_rejection,
    psychrometrics,
    refrigeration,
)
from twin.physics.load_swings import SmoothingModel, smooth_load
from twin.physics.voltage_ride_through import (
    ITIC_UNDERVOLTAGE,
    UpsMode,
    simulate_voltage_ride_through,
)
from twin.units import KW_PER_MW, MINUTES_PER_HOUR

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
    "UPS, eco mode": electrical_equipment.UPS_ECO_MODE_EFFICIENCY,
    "power supply, Titanium": electrical_equipment.PSU_TITANIUM_EFFICIENCY,
    "power supply, Ruby": electrical_equipment.PSU_RUBY_EFFICIENCY,
}
_CHILLED_C: Final = 8.89
_CONDENSER_C: Final = 36.12
_OCP: Final = "Open Compute Project, cold plate of the 1 kW accelerator module, PG25"
_EATON: Final = "Eaton, 9395XR data sheet (secondary source)"
_LABELS: Final = "80 PLUS, 230 V redundant"


def correlation_cases() -> Iterator[ValidationCase]:
    """Yield the cases of physical correlations."""
    yield from _cold_plate()
    yield ValidationCase(
        number=3,
        title="Approach of a cooling tower, YorkCalc",
        unit="K",
        points=tuple(f"{t:g} degC, {r:g} K, L/G {g:g}" for (t, r, g), _ in _TOWERS),
        expected=tuple(approach for _, approach in _TOWERS),
        tolerance=1e-3,
        source="EnergyPlus Engineering Reference, Variable Speed Cooling Towers",
        compute=_approaches,
    )
    yield ValidationCase(
        number=4,
        title="Chiller, reformulated EIR, Carrier 19XR of 869 kW",
        unit="kW",
        points=tuple(f"part load {share:g}" for share, _ in _PART_LOADS),
        expected=tuple(power for _, power in _PART_LOADS),
        tolerance=1e-3,
        source="EnergyPlus, DataSets/Chillers.idf, at 8.89 and 36.12 degC; the bare curves, of "
        "which that of the part load is fitted up to 35 degC only",
        compute=_chiller_powers,
        note=_plant_powers,
    )
    yield ValidationCase(
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


def _cold_plate() -> Iterator[ValidationCase]:
    yield ValidationCase(
        number=2,
        title="Resistance of a cold plate",
        unit="K/W",
        points=tuple(f"{flow:g} l/min" for flow in _FLOWS),
        expected=_RESISTANCES,
        tolerance=0.01,
        source=_OCP,
        compute=lambda: np.asarray(heat_exchangers.cold_plate_resistance(np.array(_FLOWS))),
    )
    yield ValidationCase(
        number=2,
        title="A plate at 1 kW, 40 degC, 1 l/min",
        unit="degC",
        points=("case", "outlet"),
        expected=(64.5, 55.0),
        tolerance=0.01,
        source=_OCP,
        compute=lambda: np.array(
            [
                40.0 + 1000.0 * heat_exchangers.cold_plate_resistance(1.0),
                40.0 + 60e3 / _volumetric_heat(40.0),  # 1 kW into 1 l/min
            ]
        ),
    )


def _volumetric_heat(temperature: float) -> float:
    """Return the heat capacity of the coolant of the plate. [kJ m-3 K-1]"""
    coolant = fluid_flow.PG25
    density, heat = (
        of(temperature, coolant) for of in (fluid_flow.density, fluid_flow.heat_capacity)
    )
    return float(density * heat)


def _approaches() -> FloatArray:
    bulb, span, ratio = np.array([point for point, _ in _TOWERS]).T
    return np.asarray(heat_rejection.yorkcalc_approach(bulb, span, liquid_gas_ratio=ratio))


def _chiller_powers() -> FloatArray:
    curves = refrigeration.CARRIER_19XR_869
    share = refrigeration.available_cooling_share(_CHILLED_C, _CONDENSER_C, curves=curves)
    loads = np.array([part for part, _ in _PART_LOADS]) * share * curves.rated_cooling
    power = refrigeration.chiller_power(
        loads,
        curves.rated_cooling,
        chilled_temperature=_CHILLED_C,
        condenser_temperature=_CONDENSER_C,
        curves=curves,
    )
    return np.asarray(KW_PER_MW * power)


def _plant_powers() -> str:
    """Return what a plant with one such machine draws at the same points."""
    own = {"rated_cooling": "868.6 kW", "count": 1, "condenser_pump_power": "0 kW"}
    declared, _ = apply_standards(
        own | {"standard": "carrier_19xr_869"}, "chillers", location="chillers"
    )
    bank = ChillerBank.model_validate(declared)
    condenser = np.array([_CONDENSER_C])
    parts = [part for part, _ in _PART_LOADS]
    power = [
        bank.compressor_power_and_units(
            part * bank.capacity(_CHILLED_C, condenser),
            supply_temperature=_CHILLED_C,
            condenser_temperature=condenser,
        )[0][0]
        for part in parts
    ]
    figures = ", ".join(
        f"{KW_PER_MW * one:.4g} kW at {part:g}" for one, part in zip(power, parts, strict=True)
    )
    return (
        "Plants do not use the bare curves there: they clip each argument to its fit, cycle at low "
        f"part load and keep Carnot's bound. Such a machine then draws {figures}."
    )


def _wet_bulbs() -> FloatArray:
    temperature, humidity = np.array([point for point, _ in _WET_BULBS]).T
    return np.asarray(psychrometrics.wet_bulb_temperature(temperature, humidity / 100.0))


def _efficiencies() -> Iterator[ValidationCase]:
    loads = np.array([load for load, _ in _UPS]) / 100.0
    yield _efficiency(
        "UPS, double conversion",
        tuple(efficiency / 100.0 for _, efficiency in _UPS),
        loads,
        loss=np.asarray(electrical_equipment.ups_loss(loads, 1.0)),
    )
    for title, published in _SUPPLIES.items():
        shares, known = np.array(published).T
        loss = np.asarray(electrical_equipment.loss_from_efficiency(shares, published))
        yield _efficiency(title, tuple(known.tolist()), shares, loss=loss)


def _efficiency(
    title: str, known: tuple[float, ...], loads: FloatArray, *, loss: FloatArray
) -> ValidationCase:
    return ValidationCase(
        number=6,
        title=title,
        unit="%",
        points=tuple(f"{load:.0%} of rating" for load in loads),
        expected=tuple(100.0 * efficiency for efficiency in known),
        tolerance=0.1,
        is_relative=False,
        source=_LABELS if title.startswith("power supply") else _EATON,
        compute=lambda: 100.0 * loads / (loads + loss),
    )


_CROSSFLOW: Final = (((2.0, 0.5), 0.739), ((3.0, 0.75), 0.755))  # N, ratio -> effectiveness
_FREQUENCIES: Final = (0.2, 1.0, 2.5, 10.0)  # of training steps, and above [Hz]
_TIME_CONSTANT_S: Final = 0.5  # of a rack's store
_STEP_S: Final = 1e-3  # time step of simulated transients
_CYCLES: Final = 20
_RATING_MVA: Final = 63.0  # of a transformer
_LOSSES: Final = {"no_load_loss": 0.04, "load_loss": 0.2}  # of that transformer [MW]
_REQUIREMENTS: Final = "founding requirements, physics of section 1 and 2"


def disturbance_cases() -> Iterator[ValidationCase]:
    """Yield the cases of machines and disturbances."""
    yield from _machines()
    yield from _disturbances()


def _machines() -> Iterator[ValidationCase]:
    yield ValidationCase(
        number=0,
        title="Effectiveness of crossflow, both streams unmixed",
        unit="1",
        points=tuple(f"N = {n:g}, Cr = {ratio:g}" for (n, ratio), _ in _CROSSFLOW),
        expected=tuple(value for _, value in _CROSSFLOW),
        tolerance=1e-3,
        source="F. Incropera, D. DeWitt, Fundamentals of Heat and Mass Transfer, eq. 11.32",
        compute=lambda: np.array(
            [heat_exchangers.crossflow_effectiveness(n, ratio) for (n, ratio), _ in _CROSSFLOW]
        ),
    )
    yield ValidationCase(
        number=0,
        title="Fan of a tower at 29.8 % of its air",
        unit="% of rated power",
        points=("exponent 2.62",),
        expected=(4.2,),
        tolerance=0.01,
        source="EnergyPlus, measured by the requirements' authors",
        compute=lambda: np.array([100.0 * fluid_flow.fan_power(0.298, 1.0, exponent=2.62)]),
    )
    yield ValidationCase(
        number=0,
        title="Efficiency of a transformer of 63 MVA, 40 kW and 200 kW",
        unit="%",
        points=("at full load", "at best load"),
        expected=(99.62, 99.72),
        tolerance=0.01,
        is_relative=False,
        source=_REQUIREMENTS,
        compute=_transformer,
    )
    yield ValidationCase(
        number=0,
        title="Lorenz COP from 35-45 to 50-80 degC",
        unit="1",
        points=("ideal", "at 0.5 of it"),
        expected=(13.6, 6.8),
        tolerance=5e-3,
        source=_REQUIREMENTS,
        compute=_lorenz,
    )


def _disturbances() -> Iterator[ValidationCase]:
    yield ValidationCase(
        number=0,
        title="Warm loop of 500 m3 without rejection at 164 MW",
        unit="K/min",
        points=("Q / (m c)",),
        expected=(4.7,),
        tolerance=0.01,
        source=_REQUIREMENTS,
        compute=lambda: np.array([164.0 / _loop().heat_capacity / MINUTES_PER_HOUR]),
    )
    yield ValidationCase(
        number=0,
        title="Time that a load behind a UPS tolerates a voltage dip",
        unit="s",
        points=tuple(f"just below {voltage:.0%}" for voltage, _ in ITIC_UNDERVOLTAGE),
        expected=(0.02, 0.5, 10.0),
        tolerance=2 * _STEP_S,
        is_relative=False,
        source="Information Technology Industry Council, ITI (CBEMA) curve, 2000",
        compute=lambda: np.array(
            [_tolerated_time(voltage - 0.01) for voltage, _ in ITIC_UNDERVOLTAGE]
        ),
    )
    yield ValidationCase(
        number=0,
        title="Swing behind a rack's store with a lag of 0.5 s",
        unit="% of the swing",
        points=tuple(f"{frequency:g} Hz" for frequency in _FREQUENCIES),
        expected=tuple(
            float(100.0 / np.hypot(1.0, 2.0 * np.pi * frequency * _TIME_CONSTANT_S))
            for frequency in _FREQUENCIES
        ),
        tolerance=0.01,
        source="first-order lag, 1 / |1 + j w tau|",
        compute=lambda: np.array([_remaining_swing(frequency) for frequency in _FREQUENCIES]),
    )


def _loop() -> CoolingLoop:
    return CoolingLoop.model_validate({"volume": "500 m3"})


def _transformer() -> FloatArray:
    loads = np.linspace(0.05, 1.0, 96) * _RATING_MVA
    losses = np.asarray(electrical_equipment.transformer_loss(loads, _RATING_MVA, **_LOSSES))
    efficiency = 100.0 * loads / (loads + losses)
    return np.array([efficiency[-1], efficiency.max()])


def _lorenz() -> FloatArray:
    source, sink = (
        refrigeration.thermodynamic_mean_temperature(*ends) for ends in ((35.0, 45.0), (50.0, 80.0))
    )
    cop = refrigeration.lorenz_cop(source, sink)
    return np.array([cop, 0.5 * cop])


def _tolerated_time(voltage: float) -> float:
    """Return the time after which a load leaves the mains in an endless dip. [s]"""
    voltages = np.full(round(15.0 / _STEP_S), voltage)
    return float(
        np.argmax(simulate_voltage_ride_through(voltages, _STEP_S).mode != UpsMode.MAINS) * _STEP_S
    )


def _remaining_swing(frequency: float) -> float:
    """Return the remaining amplitude of a sine of power between idle and full. [%]"""
    time = np.arange(round(_CYCLES / frequency / _STEP_S)) * _STEP_S
    phase = 2.0 * np.pi * frequency * time
    racks = SmoothingModel(idle_power=1.0, full_power=2.0, storage_energy=_TIME_CONSTANT_S)
    remaining = smooth_load(1.5 + 0.5 * np.sin(phase), racks, step=_STEP_S).busway_power
    steady = slice(len(time) // 2, None)  # whole cycles, after the initial transient
    sine, cosine = (
        2.0 * np.mean(remaining[steady] * wave(phase[steady])) for wave in (np.sin, np.cos)
    )
    return float(100.0 * np.hypot(sine, cosine) / 0.5)
