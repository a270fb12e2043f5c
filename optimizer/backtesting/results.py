"""Results of a back-test: summaries by policy, captures over the rules, and their JSON object.

Capture is (J_rule - J_planner) / (J_rule - J_perfect) with the objectives J of one back-test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Final

import numpy as np

from optimizer.backtesting.settlement import Settlement, WorkBalance

DEFAULT_PLANNER: Final = "deterministic"
PLANNER_ALIAS: Final = "optimal"
"""Name that stands for the default planner; results store the name of the planner."""

REFERENCE_RULE: Final = "threshold_capped"
RULES: Final = (REFERENCE_RULE, "threshold")
"""Rules over which capture is computed; the first is the harder one and gives the headline."""

PERFECT_FORESIGHT: Final = "perfect"
CAPTURE_POLICIES: Final = (REFERENCE_RULE, DEFAULT_PLANNER, PERFECT_FORESIGHT)
"""Policies of the headline capture: rule, planner, planner with perfect foresight."""

MIN_CAPTURE_DAYS: Final = 5
"""Shortest run with a capture: in shorter ones perfect foresight is not a bound. [d]"""

LATENESS_TOLERANCE_H: Final = 0.05
"""Lateness beyond that of a rule which is not reported. [h]"""


def resolve_policy(name: str) -> str:
    """Return the stored name of a policy; ``optimal`` is an alias of the default planner."""
    head, plus, series = name.partition("+")
    return (DEFAULT_PLANNER if head == PLANNER_ALIAS else head) + plus + series


@dataclass(frozen=True, kw_only=True)
class PolicySummary:
    """Figures of one policy; the names are keys of the JSON object and state the units.

    ``work_done`` [MWh] includes the work left at the end, ``work_left``, which the bill values at
    the mean price; so it is equal for all policies. ``energy_equal_work_mwh`` is the metered
    energy and the energy that the work left will take; it is None where an earlier version did not
    store it. ``starts`` counts starts of committed units. The last three figures count minimum
    times that were not kept, see :class:`~twin.simulation.limits.StagingCounts`; these are no
    ``violations``, because no quantity lies beyond a limit.
    """

    objective: float
    cost_eur: float
    carbon_kg: float
    energy_mwh: float
    energy_equal_work_mwh: float | None
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
            energy_equal_work_mwh=bill.energy_mwh + bill.work_left_energy_mwh,
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
            field.name: float(np.mean([getattr(summary, field.name) for summary in summaries]))
            for field in fields(cls)
            if field.name not in {"violations", "energy_equal_work_mwh"}
        }
        energies = [summary.energy_equal_work_mwh for summary in summaries]
        known = [energy for energy in energies if energy is not None]
        return cls(
            **means,
            violations=sum(summary.violations for summary in summaries),
            energy_equal_work_mwh=float(np.mean(known)) if len(known) == len(energies) else None,
        )


@dataclass(frozen=True, kw_only=True)
class BacktestResults:
    """Results of a whole back-test.

    - `site`, `start`, `days`, `seeds`: what was run.
    - `cpu_s`: processor time of all processes. [s]
    - `gaps`, `notes`: gaps filled in the series; what was modelled.
    - `policies`: Policy -> summary over the seeds.
    - `by_seed`: Policy -> one summary per seed.
    - `accounts`: Policy -> account -> money over the seeds; the accounts sum to the cost. [EUR]
    - `weighed`: Policy -> term beside the cost -> its weight; with the cost they sum to the
      objective. [EUR]
    - `broken`: Policy -> violated limits with the plant, the minutes and the first time.
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
        """The capture over the harder rule, :data:`REFERENCE_RULE`; see :attr:`captures`."""
        return self.captures[REFERENCE_RULE]

    @property
    def captures(self) -> dict[str, float | None]:
        """Rule -> share of the saving of perfect foresight over it that the planner saves.

        It is None for runs below :data:`MIN_CAPTURE_DAYS`, without one of the three policies, and
        where perfect foresight saves nothing: a rule that violates a limit may be cheaper than any
        plan that keeps it.
        """
        return {rule: self._capture(rule) for rule in RULES}

    def _capture(self, rule: str) -> float | None:
        names = (rule, DEFAULT_PLANNER, PERFECT_FORESIGHT)
        if self.days < MIN_CAPTURE_DAYS or not set(names) <= set(self.policies):
            return None
        simple, planned, bound = (self.policies[name].objective for name in names)
        return (simple - planned) / (simple - bound) if simple > bound else None

    @property
    def later(self) -> list[str]:
        """Sentences on planners that are later than a rule with which they are compared."""
        hours = {name: summary.lateness_h for name, summary in self.policies.items()}
        return [
            f"{name} is late by {hours[name]:.1f} h, {rule} by {hours[rule]:.1f} h"
            for rule in RULES
            for name in (DEFAULT_PLANNER, PERFECT_FORESIGHT)
            if {rule, name} <= set(hours) and hours[name] > hours[rule] + LATENESS_TOLERANCE_H
        ]

    def merged_with(self, earlier: "BacktestResults") -> "BacktestResults":
        """Return these results and, of policies that were not run now, the earlier ones.

        Both are results of the same back-test.
        """
        other = earlier.policies.keys() - self.policies.keys()
        if not other:
            return self

        def joined[T](before: Mapping[str, T], now: Mapping[str, T]) -> dict[str, T]:
            return {name: one for name, one in before.items() if name in other} | dict(now)

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
            "captures": self.captures,
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
    """Return the money of every account, averaged over seeds; an absent account is 0. [EUR]"""
    names = dict.fromkeys(name for money in seeds for name in money)
    return {name: float(np.mean([money.get(name, 0.0) for money in seeds])) for name in names}
