"""A trial: one policy on one plant, as it went and as it is settled."""

from collections.abc import Sequence
from dataclasses import dataclass

import xarray as xr

from optimizer.decision import Decision
from optimizer.service.trials.course import Step, course_of, work_of
from optimizer.service.trials.held import broken, settled
from optimizer.service.trials.results import Summary
from optimizer.service.trials.setting import Setting
from optimizer.service.trials.settle import Bill, Work, settle
from telemetry.simulator.plant import SimulatedFacility
from twin.units import format_minute
from twin.workload.queue import JobQueue


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One policy on one plant.

    Attributes
    ----------
    policy, seed
        Which.
    course
        What happened in quarter-hours: the plant's means, the plan's promises, the queue.
    bill, work, violations
        The settled run, its work, and the violated minutes by limit.
    decisions
        Every decision of a planning policy.
    """

    policy: str
    seed: int
    course: xr.Dataset
    bill: Bill
    work: Work
    violations: xr.DataArray
    decisions: tuple[Decision, ...]

    @property
    def summary(self) -> Summary:
        """The trial in numbers."""
        return Summary.of(self.bill, self.work, int(self.violations.sum()))

    @property
    def broken(self) -> list[dict[str, object]]:
        """The limits that were broken: ``limit, plant, minutes, first``."""
        return [
            {
                "limit": str(one["limit"].item()),
                "plant": self.seed,
                "minutes": int(one),
                "first": format_minute(one["first"].to_numpy()),
            }
            for one in self.violations[self.violations.to_numpy() > 0]
        ]


def trial_of(
    setting: Setting,
    plant: SimulatedFacility,
    queue: JobQueue,
    *,
    name: str,
    seed: int,
    steps: Sequence[Step],
    decisions: Sequence[Decision],
) -> Trial:
    """Return what became of a run, settled.

    Parameters
    ----------
    setting
        Site, world and work.
    plant
        The plant after it.
    queue
        What is left of the work.
    name, seed
        Of the policy, and of the plant.
    steps, decisions
        Every quarter-hour, and every decision of a policy that plans.
    """
    world, record, work = setting.world, plant.record(), work_of(queue, steps)
    course = course_of(setting, record, steps=steps, decisions=decisions)
    held = settled(plant, decisions, setting)
    return Trial(
        policy=name,
        seed=seed,
        course=course if held is None else course.merge(held, compat="override"),
        bill=settle(
            setting.site,
            record,
            world.record,
            work=work,
            peak_power=float(setting.begin["peak_power"]),
            reserves=held,
        ),
        work=work,
        violations=broken(plant, setting.site),
        decisions=tuple(decisions),
    )
