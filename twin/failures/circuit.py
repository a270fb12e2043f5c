"""What both circuits have in common after a failure: pumps and machines that are left, and when."""

from collections.abc import Callable, Iterator

import numpy as np

from twin.equipment import Accelerators
from twin.failures.aftermath import LEAST_SHARE, Aftermath, Flows, Machines, Phase
from twin.failures.ceilings import Ceilings, Most
from twin.failures.situation import Situation
from twin.failures.trips import Part, Trip
from twin.physics import FloatArray

type Conducted = tuple[tuple[FloatArray, ...], FloatArray]
type Conduct = Callable[[Flows], Conducted]
"""Flows -> conductances of the chain [MW K-1], and resistance of the cold plates [1]."""


class Circuit:
    """One circuit of a site at work, when one of its machines fails.

    Parameters
    ----------
    situation
        The site at work.
    serves
        The circuit: warm or chilled.
    """

    def __init__(self, situation: Situation, serves: str) -> None:
        self.situation, self.plant = situation, situation.plants[serves]
        self._ceilings = Ceilings(self.plant, situation.weather)
        self._plan = situation.site.contingency
        self._one = np.ones(len(situation))
        self._conducted: dict[tuple[object, ...], Conducted] = {}

    @property
    def halls(self) -> tuple[Accelerators, ...]:
        """The halls whose chips the circuit cools."""
        raise NotImplementedError

    @property
    def rises(self) -> tuple[FloatArray, ...]:
        """How far the hottest chip of each of these stands above what cools it, on ``time``. [K]"""
        raise NotImplementedError

    def after(self, trip: Trip | None) -> Aftermath:
        """Return what a failure, or none, does to the circuit."""
        raise NotImplementedError

    def _phases(
        self, trip: Trip | None, flows: tuple[Flows, ...], conduct: Conduct
    ) -> tuple[Phase, ...]:
        """Return the phases between all moments at which flows or machines change."""
        stages, step = tuple(self._machines(trip)), self._plan.flow_step
        moments = {step, *(flow.start for flow in flows), *(stage.start for stage in stages)}
        phases = []
        for moment in sorted(moments):
            flow = [flow for flow in flows if flow.start <= moment][-1]
            machines = [stage for stage in stages if stage.start <= moment][-1]
            water = flow.water
            if moment >= step:
                water = self._stepped(water, machines, trip)
            now = Flows(start=moment, coolant=flow.coolant, water=water)
            conductance, resistance = conduct(now)
            phases.append(
                Phase(
                    start=moment,
                    conductance=conductance,
                    ceiling=self._ceiling(machines, water),
                    resistance=resistance,
                )
            )
        return tuple(phases)

    def _once(self, key: tuple[object, ...], work: Callable[[], Conducted]) -> Conducted:
        """Return what is conducted; failures have most of their phases in common."""
        if key not in self._conducted:
            self._conducted[key] = work()
        return self._conducted[key]

    def _ceiling(self, machines: Machines, water: FloatArray) -> Most:
        """Return the most that the machines take at a share of the facility flow before."""
        if not machines.has_supply:
            return self._ceilings.nothing()
        return self._ceilings.most(
            flow=self.plant.flow * water,
            coolers_out=machines.coolers_out,
            chillers=machines.chillers,
        )

    def _stepped(self, water: FloatArray, machines: Machines, trip: Trip | None) -> FloatArray:
        """Return the facility flow after its step: all there is, where that lets more be taken.

        Dry coolers take more from a small, hot flow than from a large one.
        """
        is_short = trip is not None and trip.part is Part.PUMP and not self._plan.standby_pumps
        pumped = 1.0 - 1.0 / self._plan.pumps if is_short else 1.0
        most = np.maximum(pumped / np.maximum(self.plant.flow, LEAST_SHARE), water)
        now = self._ceiling(machines, water).at_target
        helps = (now < self.plant.load) & (self._ceiling(machines, most).at_target > now)
        return np.where(helps, most, water)

    def _machines(self, trip: Trip | None) -> Iterator[Machines]:
        """Yield what of the plant may run, from when on."""
        part, plan = trip.part if trip else None, self._plan
        bank = self.plant.machine.chillers
        out = 1 if part is Part.REJECTION else 0
        if part in {Part.PLANT, Part.POWER, Part.TRANSFORMER}:
            yield Machines(start=0.0, has_supply=False)
            if part is Part.POWER:
                yield from self._restart()
        elif bank is None:
            yield Machines(start=0.0, coolers_out=out)
        else:
            lost = 1 if part is Part.CHILLER else 0
            left = float(bank.count - lost)
            now = np.clip(self.plant.units_on - lost, 0.0, left)
            yield Machines(start=0.0, coolers_out=out, chillers=now)
            yield Machines(start=plan.chiller_start, coolers_out=out, chillers=left)

    def _restart(self) -> Iterator[Machines]:
        """Yield the machines as they come back: fans at once, chillers one after another."""
        plan, bank = self._plan, self.plant.machine.chillers
        if bank is None:
            yield Machines(start=plan.power_gap)
            return
        yield Machines(start=plan.power_gap, chillers=0.0)
        for unit in range(bank.count):
            start = plan.power_gap + plan.chiller_start + unit * plan.chiller_stage
            yield Machines(start=start, chillers=unit + 1.0)

    def _water(self, trip: Trip | None) -> dict[float, FloatArray]:
        """Return moments [s], and the facility flow from then on over that before. [1]"""
        part, plan, one = trip.part if trip else None, self._plan, self._one
        if part is Part.TRANSFORMER:
            return {0.0: plan.ride_through * one}
        if part is Part.POWER:
            return {0.0: plan.ride_through * one, plan.power_gap: one}
        if part is Part.PUMP:
            left = 1.0 - 1.0 / plan.pumps
            if plan.standby_pumps:
                return {0.0: left * one, plan.pump_start: one}
            most = left / np.maximum(self.plant.flow, LEAST_SHARE)
            return {0.0: left * one, plan.cdu_ramp: np.minimum(one, most)}
        return {0.0: one}
