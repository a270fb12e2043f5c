"""A site of a fleet that runs: its plant, its policy, its jobs, and those on their way to it."""

from dataclasses import replace

import numpy as np

from optimizer.decision import Decision
from optimizer.fleet.parcels import Parcel
from optimizer.policies import Optimal, View
from optimizer.service.trials.caller import Caller
from optimizer.service.trials.course import Step
from optimizer.service.trials.held import plant_of
from optimizer.service.trials.playing import look, quarter
from optimizer.service.trials.setting import Setting
from optimizer.service.trials.trial import Trial, trial_of
from twin.workload.jobs import Jobs
from twin.workload.queue import JobQueue


class Seat:
    """A site of a fleet that runs.

    Parameters
    ----------
    setting
        Site, world and work.
    seed
        Seed of its plant.

    Attributes
    ----------
    name
        Of the site.
    policy
        What decides; its plans may be made for it.
    queue
        The jobs that are here.
    """

    def __init__(self, setting: Setting, *, seed: int) -> None:
        self.name, self.queue = setting.site.name, setting.queue()
        self._setting, self._seed = setting, seed
        self._plant = plant_of(setting, seed=seed)
        self._caller = Caller(setting.site, self._plant)
        self._decisions: list[Decision] = []
        self.policy = Optimal(
            setting.site,
            setting.world.record,
            workload=setting.workload,
            listen=lambda decision: self._decisions.append(decision.kept()),
        )
        self._coming: Jobs = self.queue.jobs.take(slice(0, 0))
        own = (setting.workload.jobs, setting.workload.arrivals)
        self._next = 1 + max(int(jobs.number.max()) for jobs in own if len(jobs))
        self._steps: list[Step] = []

    def looks(self) -> View:
        """Return what may be seen now."""
        self._receive()
        return look(self._plant, self.queue, caller=self._caller, decisions=self._decisions)

    def foresees(self, view: View) -> View:
        """Return the same, with the jobs that are on their way: a plan counts on them."""
        return replace(view, queue=self._whole)

    def send(self, parcel: Parcel) -> None:
        """Let jobs go."""
        self.queue = self.queue.take(~np.isin(self.queue.jobs.number, parcel.numbers))

    def welcome(self, parcel: Parcel) -> None:
        """Expect jobs, by numbers that are no other job's here."""
        count = len(parcel.jobs)
        numbers = np.arange(self._next, self._next + count)
        self._coming = self._coming.then(replace(parcel.jobs, number=numbers))
        self._next += count

    def play(self, view: View) -> None:
        """Live a quarter-hour.

        Parameters
        ----------
        view
            What was seen at its start; the jobs are those that are here now.
        """
        self._receive()
        self.queue, progress = quarter(
            self._setting,
            self.policy,
            self._plant,
            view=replace(view, queue=self.queue),
            decisions=self._decisions,
        )
        self._steps.append((self._whole.backlog, progress))

    def trial(self, name: str) -> Trial:
        """Return what became of it, by the name of what decided."""
        return trial_of(
            self._setting,
            self._plant,
            self._whole,
            name=name,
            seed=self._seed,
            steps=self._steps,
            decisions=self._decisions,
        )

    def _receive(self) -> None:
        """Take in the jobs whose way ends by now."""
        is_here = self._coming.arrival <= self.queue.instant
        self.queue = self.queue.joined(self._coming.take(is_here))
        self._coming = self._coming.take(~is_here)

    @property
    def _whole(self) -> JobQueue:
        """The jobs that are here, and those on their way here."""
        return self.queue.joined(self._coming)
