"""What was added to the founding cases: text-book numbers, disturbances, swings, lost cooling."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from sites.cases.case import Case
from twin.equipment.loop import Loop
from twin.physics import FloatArray, electric, heat_exchange, heat_pump, machines
from twin.physics.ride_through import ITIC_LOW, Mode, ride_through
from twin.physics.smoothing import Smoother, smooth

_CROSSFLOW: Final = (((2.0, 0.5), 0.739), ((3.0, 0.75), 0.755))  # N, ratio -> effectiveness
_FREQUENCIES: Final = (0.2, 1.0, 2.5, 10.0)  # of training steps, and above [Hz]
_LAG: Final = 0.5  # of a store beside the swing that it takes [s]
_SAMPLE: Final = 1e-3  # s
_CYCLES: Final = 20
_MINUTES: Final = 60.0  # in an hour
_RATING: Final = 63.0  # of a transformer [MVA]
_LOSSES: Final = {"no_load_loss": 0.04, "load_loss": 0.2}  # of that transformer [MW]
_REQUIREMENTS: Final = "founding requirements, physics of section 1 and 2"


def cases() -> Iterator[Case]:
    """Yield these cases."""
    yield from _machines()
    yield from _disturbances()


def _machines() -> Iterator[Case]:
    yield Case(
        number=0,
        title="Effectiveness of crossflow, both streams unmixed",
        unit="1",
        points=tuple(f"N = {n:g}, Cr = {ratio:g}" for (n, ratio), _ in _CROSSFLOW),
        expected=tuple(value for _, value in _CROSSFLOW),
        tolerance=1e-3,
        source="F. Incropera, D. DeWitt, Fundamentals of Heat and Mass Transfer, eq. 11.32",
        compute=lambda: np.array(
            [heat_exchange.crossflow_effectiveness(n, ratio) for (n, ratio), _ in _CROSSFLOW]
        ),
    )
    yield Case(
        number=0,
        title="Fan of a tower at 29.8 % of its air",
        unit="% of rated power",
        points=("exponent 2.62",),
        expected=(4.2,),
        tolerance=0.01,
        source="EnergyPlus, measured by the requirements' authors",
        compute=lambda: np.array([100.0 * machines.fan_power(0.298, 1.0, exponent=2.62)]),
    )
    yield Case(
        number=0,
        title="Efficiency of a transformer of 63 MVA, 40 kW and 200 kW",
        unit="%",
        points=("at full load", "where it is best"),
        expected=(99.62, 99.72),
        tolerance=0.01,
        is_relative=False,
        source=_REQUIREMENTS,
        compute=_transformer,
    )
    yield Case(
        number=0,
        title="Lorenz COP from 35-45 to 50-80 degC",
        unit="1",
        points=("ideal", "at 0.5 of it"),
        expected=(13.6, 6.8),
        tolerance=5e-3,
        source=_REQUIREMENTS,
        compute=_lorenz,
    )


def _disturbances() -> Iterator[Case]:
    yield Case(
        number=0,
        title="Warm loop of 500 m3 without rejection at 164 MW",
        unit="K/min",
        points=("Q / (m c)",),
        expected=(4.7,),
        tolerance=0.01,
        source=_REQUIREMENTS,
        compute=lambda: np.array([164.0 / _loop().heat_capacity / _MINUTES]),
    )
    yield Case(
        number=0,
        title="How long a load behind a UPS bears a dip",
        unit="s",
        points=tuple(f"just below {voltage:.0%}" for voltage, _ in ITIC_LOW),
        expected=(0.02, 0.5, 10.0),
        tolerance=2 * _SAMPLE,
        is_relative=False,
        source="Information Technology Industry Council, ITI (CBEMA) curve, 2000",
        compute=lambda: np.array([_borne(voltage - 0.01) for voltage, _ in ITIC_LOW]),
    )
    yield Case(
        number=0,
        title="Swing behind a rack's store with a lag of 0.5 s",
        unit="% of the swing",
        points=tuple(f"{frequency:g} Hz" for frequency in _FREQUENCIES),
        expected=tuple(
            float(100.0 / np.hypot(1.0, 2.0 * np.pi * frequency * _LAG))
            for frequency in _FREQUENCIES
        ),
        tolerance=0.01,
        source="first-order lag, 1 / |1 + j w tau|",
        compute=lambda: np.array([_passed(frequency) for frequency in _FREQUENCIES]),
    )


def _loop() -> Loop:
    return Loop.model_validate({"volume": "500 m3"})


def _transformer() -> FloatArray:
    loads = np.linspace(0.05, 1.0, 96) * _RATING
    losses = np.asarray(electric.transformer_loss(loads, _RATING, **_LOSSES))
    efficiency = 100.0 * loads / (loads + losses)
    return np.array([efficiency[-1], efficiency.max()])


def _lorenz() -> FloatArray:
    source, sink = (heat_pump.mean_temperature(*ends) for ends in ((35.0, 45.0), (50.0, 80.0)))
    cop = heat_pump.lorenz_cop(source, sink)
    return np.array([cop, 0.5 * cop])


def _borne(voltage: float) -> float:
    """Return after what time a load leaves the mains in a dip that does not end. [s]"""
    course = np.full(round(15.0 / _SAMPLE), voltage)
    return float(np.argmax(ride_through(course, _SAMPLE).mode != Mode.MAINS) * _SAMPLE)


def _passed(frequency: float) -> float:
    """Return what is left of a sine of power between idle and full. [%]"""
    time = np.arange(round(_CYCLES / frequency / _SAMPLE)) * _SAMPLE
    turn = 2.0 * np.pi * frequency * time
    racks = Smoother(idle=1.0, full=2.0, storage=_LAG)
    left = smooth(1.5 + 0.5 * np.sin(turn), racks, step=_SAMPLE).connection
    settled = slice(len(time) // 2, None)  # whole cycles, after what was in the store has gone
    sine, cosine = (2.0 * np.mean(left[settled] * wave(turn[settled])) for wave in (np.sin, np.cos))
    return float(100.0 * np.hypot(sine, cosine) / 0.5)
