"""Kinds of work: how much they yield at a power cap, how long they may wait, what a pause costs."""

from typing import Annotated, Final, Self

import numpy as np
from pydantic import model_validator

from twin.equipment.declaration import Declared
from twin.physics import FloatArray
from twin.units import Meaning, Quantity

ROUNDING: Final = 1e-9
"""Rise of a slope that is taken for rounding of its two points. [1]"""

HOURS: Final = 24
"""Hours of a day. [1]"""


class Throughput(Declared):
    """Throughput of a rack against its power, both as shares of the uncapped rack."""

    power_points: Annotated[tuple[float, ...], Meaning("rising powers, the last 1")]
    work_points: Annotated[tuple[float, ...], Meaning("throughput at these powers, the last 1")]

    @model_validator(mode="after")
    def _is_concave(self) -> Self:
        power, work = np.array(self.power_points), np.array(self.work_points)
        if len(power) != len(work) or len(power) <= 1:
            message = "power_points and work_points must have the same length, at least two"
            raise ValueError(message)
        slopes = np.diff(work) / np.diff(power)
        if (np.diff(power) <= 0).any() or (slopes < 0).any() or (np.diff(slopes) > ROUNDING).any():
            message = "work must rise with power, ever more slowly"
            raise ValueError(message)
        if power[-1] != 1.0 or work[-1] != 1.0:
            message = "the last point must be the uncapped rack: power 1, work 1"
            raise ValueError(message)
        return self

    def work(self, power_share: FloatArray | float) -> FloatArray:
        """Return the throughput at a power cap, both as shares of the uncapped rack. [1]"""
        return np.asarray(np.interp(power_share, self.power_points, self.work_points))

    def power(self, work_share: FloatArray | float) -> FloatArray:
        """Return the least power that gives a throughput, both as shares. [1]"""
        return np.asarray(np.interp(work_share, self.work_points, self.power_points))


class WorkKind(Declared):
    """A kind of movable work and what it tolerates."""

    name: str
    slack: Annotated[float, Quantity("1", "wait allowed, as a multiple of the length", at_least=0)]
    tolerance: Annotated[
        float, Quantity("1", "loss of throughput tolerated under a cap", at_least=0, below=1)
    ]
    longer_than: Annotated[
        float, Quantity("h", "jobs at least this long belong to this kind", at_least=0)
    ] = 0.0
    pause_loss: Annotated[
        float, Quantity("h", "work lost by a pause, since the last checkpoint", at_least=0)
    ] = 0.0
    minimum_run: Annotated[
        float, Quantity("h", "a started job runs at least this long", at_least=0)
    ] = 0.0
    pause_time: (
        Annotated[
            float,
            Quantity("min", "in which racks stop when asked to; none: holds no reserves", above=0),
        ]
        | None
    ) = None
    throughput: Throughput

    @model_validator(mode="after")
    def _may_pause(self) -> Self:
        if self.pause_time is not None and self.minimum_run > 0.0:
            message = "a kind with a minimum_run cannot pause at any time: leave pause_time out"
            raise ValueError(message)
        return self

    @property
    def least_power(self) -> float:
        """Power share of the deepest cap that the tolerance allows. [1]"""
        return float(self.throughput.power(1.0 - self.tolerance))


class Service(Declared):
    """Inference that follows people's days and must be served whenever it is asked for."""

    racks: Annotated[float, Quantity("1", "racks busy at the daily peak", at_least=0)]
    daily_shape: Annotated[
        tuple[float, ...],
        Meaning("24 shares of `racks`, one for each hour of the site's clock from midnight"),
    ]
    weekend_share: Annotated[
        float, Quantity("1", "demand on a weekend beside a working day", above=0, at_most=2)
    ] = 1.0

    @model_validator(mode="after")
    def _has_a_day(self) -> Self:
        shape = self.daily_shape
        if len(shape) != HOURS or not all(0 <= share <= 1 for share in shape):
            here = f"here are {len(shape)}, of {min(shape, default=0)} to {max(shape, default=0)}"
            message = f"daily_shape must be 24 shares between 0 and 1, one per local hour; {here}"
            raise ValueError(message)
        return self
