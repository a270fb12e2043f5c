"""Results of a back-test: summaries by policy, captures over the rules, and their JSON object.

Capture is (J_rule - J_planner) / (J_rule - J_perfect) with the objectives J of one back-test.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Final

import numpy as np

from optimizer.backtesting.settlement import Settlement, WorkBalance
from optimizer.policies.policy import (
    CAPTURE_RULES,
    DEFAULT_PLANNER,
    PERFECT_FORESIGHT_POLICY,
    PLANNERS,
    REFERENCE_RULE,
    resolve_policy,
)
from twin.errors import IssueCode, ProblemError

CAPTURE_POLICIES: Final = (REFERENCE_RULE, DEFAULT_PLANNER, PERFECT_FORESIGHT_POLICY)
"""Policies of the headline capture: rule, planner, planner with perfect foresight."""

MIN_CAPTURE_DAYS: Final = 5
"""Shortest run with a capture: in shorter ones perfect foresight is not a bound. [d]"""

LATENESS_TOLERANCE_H: Final = 0.05
"""Lateness beyond that of a rule which is not reported. [h]"""


@dataclass(frozen=True, kw_only=True)
class PolicySummary:
    """Figures of one policy; the names are keys of the JSON object and state the units.

    ``work_done`` [MWh] includes the work left at the end, ``work_left``, which the bill values at
    the mean price; so it is equal for all policies. ``energy_equal_work_mwh`` is the metered
    energy and the energy that the work left will take, and ``carbon_equal_work_kg`` the same of the
    carbon; policies are compared by these. Both are None where an earlier version did not store
    them. ``starts`` counts starts of committed units. The three figures after it count minimum
    times that were not kept, see :class:`~twin.simulation.minimum_times.StagingCounts`; these are
    no ``violations``, because no quantity lies beyond a limit. ``fallbacks`` counts plans of a
    planner that are not the optimum of the whole horizon, because no safe one was found.
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
    fallbacks: int = 0
    carbon_equal_work_kg: float | None = None

    @classmethod
    def of(
        cls, bill: Settlement, work: WorkBalance, violations: int, *, fallbacks: int = 0
    ) -> "PolicySummary":
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
            work_done=work.done + sum(work.remaining_work.values()),
            work_left=sum(work.remaining_work.values()),
            starts=bill.staging.starts,
            short_runs=bill.staging.min_up_violations,
            short_rests=bill.staging.min_down_violations,
            early_starts=bill.staging.restart_violations,
            fallbacks=fallbacks,
            carbon_equal_work_kg=bill.carbon_equal_work_kg,
        )

    @classmethod
    def averaged(cls, summaries: Sequence["PolicySummary"]) -> "PolicySummary":
        """Return the summary over seeds: violations and fallbacks summed, the rest averaged."""
        columns = {
            one.name: [getattr(summary, one.name) for summary in summaries] for one in fields(cls)
        }
        violations, fallbacks = (sum(columns.pop(name)) for name in ("violations", "fallbacks"))
        energy, carbon = (
            None if None in values else float(np.mean(values))
            for values in (
                columns.pop("energy_equal_work_mwh"),
                columns.pop("carbon_equal_work_kg"),
            )
        )
        return cls(
            **{name: float(np.mean(values)) for name, values in columns.items()},
            violations=violations,
            fallbacks=fallbacks,
            energy_equal_work_mwh=energy,
            carbon_equal_work_kg=carbon,
        )


CONFIDENCE_LEVEL: Final = 0.95
"""Probability with which the interval of a paired difference holds the true mean. [1]"""


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Mean of paired differences, and its 95 % interval.

    - `mean`: mean of value less reference.
    - `half_width`: half of the width of the interval; None for a single pair.
    - `pair_count`: number of pairs. [1]
    """

    mean: float
    half_width: float | None
    pair_count: int

    @property
    def is_significant(self) -> bool:
        """Whether the interval excludes 0: only then is the difference a gain or a loss."""
        return self.half_width is not None and abs(self.mean) > self.half_width

    @property
    def verdict(self) -> str:
        """``lower``, ``higher``, ``no difference shown``, or ``unknown`` for a single pair."""
        if self.half_width is None:
            return "unknown"
        if not self.is_significant:
            return "no difference shown"
        return "lower" if self.mean < 0.0 else "higher"

    def as_json(self) -> dict[str, object]:
        """Return the object that ``--json`` writes. [EUR]"""
        low, high = (
            (None, None)
            if self.half_width is None
            else (self.mean - self.half_width, self.mean + self.half_width)
        )
        return {
            "mean_eur": self.mean,
            "low_eur": low,
            "high_eur": high,
            "pairs": self.pair_count,
            "verdict": self.verdict,
        }


def paired_difference(values: Sequence[float], reference: Sequence[float]) -> PairedDifference:
    """Return the mean of paired differences and its 95 % interval by Student's t distribution.

    Pairs have the same seed and the same days, so that chance common to both cancels. Values may
    come from several weeks, one after another.

    Raises ProblemError if both are not equally long, or empty.
    """
    if len(values) != len(reference) or not len(values):
        raise ProblemError.single(
            "paired difference",
            IssueCode.WRONG_AXES,
            "values",
            found=f"{len(values)} values and {len(reference)} of the reference",
            expected="one value of the reference for each value, of the same seed and days",
            remedy="run both over the same seeds and days",
        )
    difference = np.subtract(values, reference, dtype=float)
    count, half_width = len(difference), None
    if count > 1:
        from scipy.stats import t as student_t  # noqa: PLC0415  (heavy, and for this alone)

        quantile = float(student_t.ppf(0.5 + CONFIDENCE_LEVEL / 2.0, count - 1))
        half_width = quantile * float(difference.std(ddof=1)) / math.sqrt(count)
    return PairedDifference(mean=float(difference.mean()), half_width=half_width, pair_count=count)


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
    - `fallbacks`: Policy -> plans that are not the optimum, for want of a safe one, each with the
      plant, the time and the reason.
    - `risk`: Planner with scenarios -> level and weights of its
      :class:`~optimizer.model.objective.RiskPreference`.
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
    fallbacks: Mapping[str, Sequence[Mapping[str, object]]] = field(default_factory=dict)
    risk: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def planner(self) -> str | None:
        """Planner of the captures: the default one, else that for the forecast, else None."""
        return next((name for name in PLANNERS if name in self.policies), None)

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
        return {rule: self._capture(rule) for rule in CAPTURE_RULES}

    def _capture(self, rule: str) -> float | None:
        names = (rule, self.planner or DEFAULT_PLANNER, PERFECT_FORESIGHT_POLICY)
        if self.days < MIN_CAPTURE_DAYS or not set(names) <= set(self.policies):
            return None
        simple, planned, bound = (self.policies[name].objective for name in names)
        return (simple - planned) / (simple - bound) if simple > bound else None

    @property
    def lateness_warnings(self) -> list[str]:
        """Sentences on planners that are later than a rule with which they are compared."""
        hours = {name: summary.lateness_h for name, summary in self.policies.items()}
        return [
            f"{name} is late by {hours[name]:.1f} h, {rule} by {hours[rule]:.1f} h"
            for rule in CAPTURE_RULES
            for name in (*PLANNERS, PERFECT_FORESIGHT_POLICY)
            if {rule, name} <= set(hours) and hours[name] > hours[rule] + LATENESS_TOLERANCE_H
        ]

    def objectives(self, policy: str) -> list[float]:
        """Return the objective of a policy on every plant. [EUR]"""
        return [summary.objective for summary in self.by_seed[resolve_policy(policy, self.by_seed)]]

    @property
    def reference_policy(self) -> str:
        """Policy with which the others are compared: the harder rule, else the first one."""
        return REFERENCE_RULE if REFERENCE_RULE in self.policies else next(iter(self.policies))

    @property
    def differences(self) -> dict[str, PairedDifference]:
        """Policy -> its objective less that of the reference policy on the same plants. [EUR]"""
        return {
            name: paired_difference(self.objectives(name), self.objectives(self.reference_policy))
            for name in self.policies
            if name != self.reference_policy
        }

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
            fallbacks=joined(earlier.fallbacks, self.fallbacks),
            risk=joined(earlier.risk, self.risk),
        )

    def as_json(self) -> dict[str, object]:
        """Return the object that ``--json`` writes."""
        return {
            "site": self.site,
            "start": self.start,
            "days": self.days,
            "seeds": self.seeds,
            "cpu_s": round(self.cpu_s, 2),
            "planner": self.planner,
            "capture": self.capture,
            "captures": self.captures,
            "reference": self.reference_policy,
            "differences": {name: one.as_json() for name, one in self.differences.items()},
            "later": self.lateness_warnings,
            "gaps": list(self.gaps),
            "notes": list(self.notes),
            "policies": {name: asdict(summary) for name, summary in self.policies.items()},
            "by_seed": {name: [asdict(s) for s in many] for name, many in self.by_seed.items()},
            "accounts": {name: dict(money) for name, money in self.accounts.items()},
            "weighed": {name: dict(money) for name, money in self.weighed.items()},
            "broken": {name: [dict(row) for row in rows] for name, rows in self.broken.items()},
            "fallbacks": {
                name: [dict(row) for row in rows] for name, rows in self.fallbacks.items()
            },
            "risk": {name: dict(values) for name, values in self.risk.items()},
        }


def mean_accounts(seeds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the money of every account, averaged over seeds; an absent account is 0. [EUR]"""
    names = dict.fromkeys(name for money in seeds for name in money)
    return {name: float(np.mean([money.get(name, 0.0) for money in seeds])) for name in names}


@dataclass(frozen=True, kw_only=True)
class Economics:
    """Terms of an investment.

    - `investment`: of each option, beside the present site, in their order. [EUR]
    - `life`: years of equal use. [a]
    - `discount_rate`, `degradation`: shares a year. [1]
    """

    investment: tuple[float, ...]
    life: int
    discount_rate: float
    degradation: float = 0.0

    @property
    def present_value_factor(self) -> float:
        """Present value of a saving of 1 EUR in the first year. [a]"""
        return net_present_value(
            0.0,
            1.0,
            life=self.life,
            discount_rate=self.discount_rate,
            degradation=self.degradation,
        )


def net_present_value(
    investment: float, saving: float, *, life: int, discount_rate: float, degradation: float = 0.0
) -> float:
    """Return the net present value of an investment that saves money at the end of each year.

    Parameters
    ----------
    investment
        Paid now. [EUR]
    saving
        Of the first year. [EUR]
    life
        Years. [a]
    discount_rate
        Real rate for a saving at constant prices. [1]
    degradation
        Share of the saving that is lost each year. [1]

    Returns
    -------
    float
        ``-I + sum_k S (1 - d)^(k - 1) / (1 + r)^k``, without value at the end of the life. [EUR]

    References
    ----------
    Short, Packey and Holt, NREL/TP-462-5173, 1995, doi:10.2172/35391.

    Examples
    --------
    >>> round(net_present_value(1000.0, 600.0, life=2, discount_rate=0.1), 2)
    41.32
    """
    years = np.arange(1, life + 1)
    return float(
        saving * ((1.0 - degradation) ** (years - 1) / (1.0 + discount_rate) ** years).sum()
        - investment
    )
