"""The results of a back-test: summed over seeds, compared fairly, written whole or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Final

import numpy as np

from optimizer.backtesting.settlement import Settlement, WorkBalance

REFERENCE_RULE: Final = "threshold"
CAPTURE_POLICIES: Final = (REFERENCE_RULE, "optimal", "perfect")
"""What capture compares: the rule, who plans, and the bound of what plans can save."""

LATENESS_TOLERANCE_H: Final = 0.05
"""More than this is later. [h]"""


@dataclass(frozen=True, kw_only=True)
class PolicySummary:
    """One policy in numbers; the names are those of the JSON object, with their units in them.

    ``work_done`` [MWh] counts the work left over at the end, ``work_left``, which is paid for at
    the mean price; so it is the same for all policies. ``starts`` counts those of units that have
    to be committed; the last three, see :class:`~twin.simulation.limits.StagingCounts`, are least
    times that were not kept. These are no ``violations``: no quantity lies beyond a limit, and none
    is counted by the minute.
    """

    objective: float
    cost_eur: float
    carbon_kg: float
    energy_mwh: float
    it_energy_mwh: float
    water_m3: float
    peak_mw: float
    lateness_h: float
    violations: int
    pue: float
    work_done: float
    work_left: float
    starts: float = 0.0
    short_runs: float = 0.0
    short_rests: float = 0.0
    early_starts: float = 0.0

    @classmethod
    def of(cls, bill: Settlement, work: WorkBalance, violations: int) -> "PolicySummary":
        """Return the summary of one settled run."""
        return cls(
            objective=bill.objective,
            cost_eur=bill.cost,
            carbon_kg=bill.carbon_kg,
            energy_mwh=bill.energy_mwh,
            it_energy_mwh=bill.it_energy_mwh,
            water_m3=bill.water_m3,
            peak_mw=bill.peak_mw,
            lateness_h=work.lateness,
            violations=violations,
            pue=bill.pue,
            work_done=work.done + sum(work.left.values()),
            work_left=sum(work.left.values()),
            starts=bill.staging.starts,
            short_runs=bill.staging.min_up_violations,
            short_rests=bill.staging.min_down_violations,
            early_starts=bill.staging.restart_violations,
        )

    @classmethod
    def averaged(cls, summaries: Sequence["PolicySummary"]) -> "PolicySummary":
        """Return the summary over seeds: violations summed, the rest averaged."""
        means = {
            field.name: float(np.mean([getattr(s, field.name) for s in summaries]))
            for field in fields(cls)
            if field.name != "violations"
        }
        return cls(**means, violations=sum(s.violations for s in summaries))


@dataclass(frozen=True, kw_only=True)
class BacktestResults:
    """A whole back-test.

    Attributes
    ----------
    site, start, days, seeds
        What was run.
    cpu_s
        Processor time of everything, in all processes. [s]
    gaps, notes
        What was filled in the series, what was modelled.
    policies
        Name -> summary over the seeds.
    by_seed
        Name -> one summary a seed.
    accounts
        Name -> account -> money over the seeds; they add up to the cost. [EUR]
    weighed
        Name -> what weighs beside the cost -> its weight; with the cost it is the objective. [EUR]
    broken
        Name -> limits that were broken, on which plant, for how many minutes, and since when.
    """

    site: str
    start: str
    days: int
    seeds: int
    cpu_s: float
    gaps: tuple[str, ...]
    notes: tuple[str, ...]
    policies: Mapping[str, PolicySummary]
    by_seed: Mapping[str, Sequence[PolicySummary]]
    accounts: Mapping[str, Mapping[str, float]]
    weighed: Mapping[str, Mapping[str, float]]
    broken: Mapping[str, Sequence[Mapping[str, object]]]

    @property
    def capture(self) -> float | None:
        """Share of what perfect foresight saves over the threshold rule that optimal saves too.

        None without one of the three, and where perfect foresight saves nothing: a rule that
        breaks a limit may be cheaper than any plan that keeps it.
        """
        if not set(CAPTURE_POLICIES) <= set(self.policies):
            return None
        rule, ours, bound = (self.policies[name].objective for name in CAPTURE_POLICIES)
        return (rule - ours) / (rule - bound) if rule > bound else None

    @property
    def later(self) -> list[str]:
        """Say in words which of those that are compared are later than the rule, as none may be."""
        hours = {
            name: self.policies[name].lateness_h
            for name in CAPTURE_POLICIES
            if name in self.policies
        }
        return [
            f"{name} is late by {late:.1f} h, {REFERENCE_RULE} by {hours[REFERENCE_RULE]:.1f} h"
            for name, late in hours.items()
            if REFERENCE_RULE in hours and late > hours[REFERENCE_RULE] + LATENESS_TOLERANCE_H
        ]

    def merged_with(self, earlier: "BacktestResults") -> "BacktestResults":
        """Return these results with what other policies of the same back-test had before.

        Parameters
        ----------
        earlier
            What was there; of a policy that was run again, what it had is left out.
        """
        kept = earlier.policies.keys() - self.policies.keys()
        if not kept:
            return self

        def joined[T](before: Mapping[str, T], now: Mapping[str, T]) -> dict[str, T]:
            return {name: one for name, one in before.items() if name in kept} | dict(now)

        return replace(
            self,
            cpu_s=earlier.cpu_s + self.cpu_s,
            gaps=tuple(dict.fromkeys((*earlier.gaps, *self.gaps))),
            notes=tuple(dict.fromkeys((*earlier.notes, *self.notes))),
            policies=joined(earlier.policies, self.policies),
            by_seed=joined(earlier.by_seed, self.by_seed),
            accounts=joined(earlier.accounts, self.accounts),
            weighed=joined(earlier.weighed, self.weighed),
            broken=joined(earlier.broken, self.broken),
        )

    def as_json(self) -> dict[str, object]:
        """Return the object that ``--json`` writes."""
        return {
            "site": self.site,
            "start": self.start,
            "days": self.days,
            "seeds": self.seeds,
            "cpu_s": round(self.cpu_s, 2),
            "capture": self.capture,
            "later": self.later,
            "gaps": list(self.gaps),
            "notes": list(self.notes),
            "policies": {name: asdict(summary) for name, summary in self.policies.items()},
            "by_seed": {name: [asdict(s) for s in many] for name, many in self.by_seed.items()},
            "accounts": {name: dict(money) for name, money in self.accounts.items()},
            "weighed": {name: dict(money) for name, money in self.weighed.items()},
            "broken": {name: [dict(row) for row in rows] for name, rows in self.broken.items()},
        }


def mean_accounts(seeds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the money of every account, averaged over seeds; one that a seed lacks is 0. [EUR]"""
    names = dict.fromkeys(name for money in seeds for name in money)
    return {name: float(np.mean([money.get(name, 0.0) for money in seeds])) for name in names}
