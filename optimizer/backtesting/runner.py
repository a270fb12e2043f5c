"""Back-test: run policies in closed loop on a simulated plant that differs from their model."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from optimizer.backtesting.case import BacktestCase
from optimizer.backtesting.closed_loop import run_policy
from optimizer.backtesting.policy_run import IntervalProgress, PolicyRun, settle_policy_run
from optimizer.backtesting.reserve_calls import build_plant
from optimizer.backtesting.results import (
    DEFAULT_PLANNER,
    PERFECT_FORESIGHT,
    PLANNER_ALIAS,
    REFERENCE_RULE,
    RULES,
    BacktestResults,
    PolicySummary,
    mean_accounts,
    resolve_policy,
)
from optimizer.backtesting.settlement import Settlement
from optimizer.planner.decision import Decision
from optimizer.policies.mpc import (
    FORESIGHT_POLICIES,
    MpcPolicy,
    PartialForesightPolicy,
    StochasticMpcPolicy,
)
from optimizer.policies.policy import (
    Policy,
    carbonscaler_policy,
    immediate_policy,
    threshold_capped_policy,
    threshold_policy,
)
from twin.errors import IssueCode, ProblemError, ValidationIssue
from twin.text import closest_match_hint
from twin.units import format_minute
from twin.validation import check_argument_types

DEFAULT_POLICIES: Final = (
    "immediate",
    "threshold",
    REFERENCE_RULE,
    PLANNER_ALIAS,
    PERFECT_FORESIGHT,
)
"""Policies that are run by default, in order."""

KNOWN_POLICIES: Final = (
    "immediate",
    *RULES,
    "carbonscaler",
    DEFAULT_PLANNER,
    "hedged",
    *FORESIGHT_POLICIES,
    PERFECT_FORESIGHT,
)
"""All policies: ``threshold`` runs work in the cheapest known hours, ``threshold_capped`` also caps
it, and ``carbonscaler`` is a published rule that follows the carbon intensity of the grid.
``hedged`` plans for several scenarios, and those of
:data:`optimizer.policies.mpc.FORESIGHT_POLICIES` with perfect foresight of one series."""

MIN_SEEDS: Final = 1
"""Plants that a back-test needs. [1]"""

type ProgressCallback = Callable[[str, int, int, int], None]
"""Receives the policy, the seed, the quarter-hours done and those in all."""

type RunSummary = tuple[PolicySummary, Settlement, list[dict[str, object]]]
"""Summary, bill and violated limits of a run; its trajectory is released."""


def backtest(
    case: BacktestCase,
    *,
    policies: Sequence[str] = DEFAULT_POLICIES,
    seeds: int = 1,
    on_progress: ProgressCallback = lambda *_: None,
    on_run: Callable[[PolicyRun], None] = lambda _: None,
    export_folder: Path | None = None,
) -> BacktestResults:
    """Run policies on the same plants and compare them.

    Parameters
    ----------
    case
        Site, series and work.
    policies
        Names of :data:`KNOWN_POLICIES`, or ``optimal``; a repeated name is run once.
    seeds
        Number of plants, each with its own hidden parameters; at least one. [1]
    on_progress
        Receives the progress.
    on_run
        Receives every run when it is done.
    export_folder
        Folder for the linear model of every decision; None writes none.

    Returns
    -------
    BacktestResults
        Summaries by policy, under the stored names.

    Raises
    ------
    ProblemError
        If a policy is unknown, none is named, or ``seeds`` is below 1; before anything is run.
    """
    check_argument_types("back-test", setting=(case, BacktestCase))
    names = validate_policies(policies)
    if seeds < MIN_SEEDS:
        fault = ValidationIssue(
            code=IssueCode.OUT_OF_RANGE,
            location="seeds",
            found=str(seeds),
            expected=f"at least {MIN_SEEDS} plant",
            remedy="name the number of plants to run",
        )
        raise ProblemError("back-test", [fault])
    began = time.process_time()
    ran: dict[str, list[RunSummary]] = {name: [] for name in names}
    for seed in range(seeds):
        for name in names:
            run = run_backtest_policy(
                case, name, seed=seed, on_progress=on_progress, export_folder=export_folder
            )
            on_run(run)
            ran[name].append((run.summary, run.settlement, run.violated_limits))
    return _summarise(case, ran, seeds=seeds, cpu_s=time.process_time() - began)


def _summarise(
    case: BacktestCase, ran: Mapping[str, Sequence[RunSummary]], *, seeds: int, cpu_s: float
) -> BacktestResults:
    """Return the results of a back-test from the summaries of its runs by policy."""
    inputs = case.inputs
    summaries = {name: [summary for summary, _, _ in many] for name, many in ran.items()}
    bills = {name: [bill for _, bill, _ in many] for name, many in ran.items()}
    return BacktestResults(
        site=case.site.name,
        start=format_minute(inputs.start),
        days=round((inputs.end - inputs.start) / np.timedelta64(1, "D")),
        seeds=seeds,
        cpu_s=cpu_s,
        gaps=inputs.gaps,
        notes=inputs.notes,
        policies={name: PolicySummary.averaged(many) for name, many in summaries.items()},
        by_seed=summaries,
        accounts={name: mean_accounts([bill.accounts for bill in b]) for name, b in bills.items()},
        weighed={name: mean_accounts([bill.weighted for bill in b]) for name, b in bills.items()},
        broken={name: [row for _, _, rows in many for row in rows] for name, many in ran.items()},
    )


def validate_policies(names: Iterable[str], *, place: str = "policies") -> tuple[str, ...]:
    """Return the stored names of the named policies, each once.

    ``place`` is the location in an error.

    Raises
    ------
    ProblemError
        If a policy is unknown, or none is named.
    """
    given = (names,) if isinstance(names, str) else tuple(names)
    found = dict.fromkeys(resolve_policy(str(name)) for name in given)
    choices = (PLANNER_ALIAS, *KNOWN_POLICIES)
    faults = [
        ValidationIssue(
            code=IssueCode.UNKNOWN_NAME,
            location=place,
            found=str(name),
            expected=f"one of {', '.join(choices)}",
            remedy="choose a known policy" + closest_match_hint(str(name).lower(), choices),
        )
        for name in dict.fromkeys(given)
        if resolve_policy(str(name)) not in KNOWN_POLICIES
    ]
    if not found:
        fault = ValidationIssue(
            code=IssueCode.MISSING,
            location=place,
            found="none",
            expected=f"some of {', '.join(choices)}",
            remedy="name at least one policy",
        )
        faults = [fault]
    if faults:
        raise ProblemError("back-test", faults)
    return tuple(found)


def run_backtest_policy(
    case: BacktestCase,
    name: str,
    *,
    seed: int,
    on_progress: ProgressCallback,
    export_folder: Path | None = None,
) -> PolicyRun:
    """Run one policy on the plant of a seed from start to end, and settle the run.

    The linear models of its decisions go to a folder for policy and plant in ``export_folder``.
    """
    name = resolve_policy(name)
    decisions: list[Decision] = []
    models = export_folder and export_folder / f"{name}_{seed}"
    policy = build_policy(
        case, name, lambda decision: decisions.append(decision.without_replay()), export=models
    )
    plant = build_plant(case, seed=seed)
    count = case.actual.sizes["time"]
    steps: list[IntervalProgress] = []
    for queue, progress in run_policy(case, policy, plant, decisions=decisions):
        steps.append((queue.backlog, progress))
        on_progress(name, seed, len(steps), count)
    return settle_policy_run(
        case, plant, queue, name=name, seed=seed, steps=steps, decisions=decisions
    )


def build_policy(
    case: BacktestCase,
    name: str,
    on_decision: Callable[[Decision], None],
    *,
    export: Path | None = None,
) -> Policy:
    """Return a policy by its name; a planner writes its models to the folder ``export``.

    Raises
    ------
    ProblemError
        If no policy has this name.
    """
    (name,) = validate_policies([name], place="policy")
    site, record = case.site, case.inputs.series
    match name:
        case "immediate":
            return immediate_policy(site, record)
        case "threshold_capped":
            return threshold_capped_policy(site, record)
        case "threshold":
            return threshold_policy(site, record)
        case "carbonscaler":
            return carbonscaler_policy(site, record)
        case "deterministic":
            return MpcPolicy(
                site, record, workload=case.workload, on_decision=on_decision, export=export
            )
        case "hedged":
            return StochasticMpcPolicy(
                site, record, workload=case.workload, on_decision=on_decision, export=export
            )
        case name if name in FORESIGHT_POLICIES:
            return PartialForesightPolicy(
                site,
                record,
                knows=FORESIGHT_POLICIES[name],
                workload=case.workload,
                on_decision=on_decision,
                export=export,
            )
        case "perfect":
            return MpcPolicy(
                site,
                record,
                workload=case.workload,
                until=case.inputs.end,
                final_price=float(case.actual["electricity_price"].mean()),
                on_decision=on_decision,
                export=export,
            )
        case _:  # every name of KNOWN_POLICIES needs a case above
            raise NotImplementedError(name)
