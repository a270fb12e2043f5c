"""What work can yield within a quarter-hour: lower caps, which racks follow sooner than a pause."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from optimizer.dispatch import in_order
from twin.physics import FloatArray
from twin.workload.queue import JobQueue, running_power


@dataclass(frozen=True, kw_only=True)
class Easing:
    """The jobs that were ordered for a quarter-hour, as far as they can do with less.

    Attributes
    ----------
    queue
        The jobs at its start.
    caps
        Cap of each job as ordered, 0 for those that wait. [1]
    """

    queue: JobQueue
    caps: FloatArray

    @classmethod
    def of(cls, queue: JobQueue, jobs: Mapping[int, float]) -> Self:
        """Return what jobs can yield that were ordered by their numbers."""
        return cls(queue=queue, caps=in_order(queue, jobs))

    @property
    def power(self) -> float:
        """Power above idle that was ordered. [MW]"""
        return running_power(self.queue, self.caps)

    def by(self, cut: float) -> tuple[dict[int, float], float]:
        """Return caps under which the jobs draw less, as far as racks can be capped.

        Parameters
        ----------
        cut
            By how much. [MW]

        Returns
        -------
        tuple of dict and float
            Number of each job that runs -> cap; and by how much less that is. [MW]

        Notes
        -----
        The tolerance of a kind says what slowness is worth while over days; here minutes count, and
        a connection that trips ends all work. So nobody is spared, and nobody paused: a cap costs
        no checkpoint.
        """
        kinds = self.queue.pool.kinds
        floors = np.array([kind.throughput.power_points[0] for kind in kinds])
        least = np.minimum(floors[self.queue.jobs.kind], self.caps)
        most = self.power - running_power(self.queue, least)
        less = min(max(cut, 0.0), most)
        eased = self.caps - (self.caps - least) * (less / most if most > 0.0 else 0.0)
        on = self.caps > 0.0
        return dict(zip(self.queue.jobs.number[on].tolist(), eased[on].tolist(), strict=True)), less
