"""Back-test: run policies in closed loop on a plant that is not what they believe it to be."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from optimizer.backtesting.case import BacktestCase
from optimizer.backtesting.closed_loop import run_policy
from optimizer.backtesting.policy_run import IntervalProgress, PolicyRun, settle_policy_run
from optimizer.backtesting.reserve_calls import build_plant
from optimizer.backtesting.results import BacktestResults, PolicySummary, mean_accounts
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
from twin.errors import ProblemError, ValidationIssue
from twin.text import closest_match_hint
from twin.units import format_minute
from twin.validation import check_argument_types

DEFAULT_POLICIES: Final = ("immediate", "threshold", "optimal", "perfect")
"""The usual policies, in the order in which they are run and shown."""

KNOWN_POLICIES: Final = (*DEFAULT_POLICIES, "uncapped", "scaling", "cvar", *FORESIGHT_POLICIES)
"""All policies: ``uncapped`` is ``threshold`` without caps; ``scaling`` is a published rule that
follows the carbon of the grid; ``cvar`` is ``optimal`` with scenarios, hedged against the dearest
of them; those of :data:`optimizer.policies.mpc.FORESIGHT_POLICIES` are ``optimal`` told a part of
what
comes."""

MIN_SEEDS: Final = 1
"""Plants that a back-test needs. [1]"""

type ProgressCallback = Callable[[str, int, int, int], None]
"""Told of progress: policy, seed, quarter-hours done, quarter-hours in all."""

type RunSummary = tuple[PolicySummary, Settlement, list[dict[str, object]]]
"""What is kept of a trial until all are done: its summary, its bill, the limits it broke."""


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
        Site, world and work.
    policies
        Names of :data:`KNOWN`; one that is named twice is run once.
    seeds
        Number of plants, each with its own hidden nature; one at least. [1]
    on_progress
        Told of progress.
    on_run
        Given every trial as soon as it is done.
    export_folder
        Folder for the linear model of every decision; none are written without.

    Returns
    -------
    BacktestResults
        Summaries by policy.

    Raises
    ------
    ProblemError
        If a policy is not known, none is named, or there is no plant; before anything is run.
    """
    check_argument_types("back-test", setting=(case, BacktestCase))
    names = validate_policies(policies)
    if seeds < MIN_SEEDS:
        remedy = f"plants to be run: {MIN_SEEDS} at least"
        raise ProblemError(
            "back-test", [ValidationIssue(location="seeds", found=str(seeds), remedy=remedy)]
        )
    began = time.process_time()
    ran: dict[str, list[RunSummary]] = {name: [] for name in names}
    for seed in range(seeds):
        for name in names:
            trial = run_backtest_policy(
                case, name, seed=seed, on_progress=on_progress, export_folder=export_folder
            )
            on_run(trial)
            ran[name].append((trial.summary, trial.settlement, trial.violated_limits))
    return _summarise(case, ran, seeds=seeds, cpu_s=time.process_time() - began)


def _summarise(
    case: BacktestCase, ran: Mapping[str, Sequence[RunSummary]], *, seeds: int, cpu_s: float
) -> BacktestResults:
    """Return the results of a setting, from what was kept of its trials by policy."""
    world = case.inputs
    summaries = {name: [summary for summary, _, _ in many] for name, many in ran.items()}
    bills = {name: [bill for _, bill, _ in many] for name, many in ran.items()}
    return BacktestResults(
        site=case.site.name,
        start=format_minute(world.start),
        days=round((world.end - world.start) / np.timedelta64(1, "D")),
        seeds=seeds,
        cpu_s=cpu_s,
        gaps=world.gaps,
        notes=world.notes,
        policies={name: PolicySummary.averaged(many) for name, many in summaries.items()},
        by_seed=summaries,
        accounts={name: mean_accounts([bill.accounts for bill in b]) for name, b in bills.items()},
        weighed={name: mean_accounts([bill.weighted for bill in b]) for name, b in bills.items()},
        broken={name: [row for _, _, rows in many for row in rows] for name, many in ran.items()},
    )


def validate_policies(names: Iterable[str], *, place: str = "policies") -> tuple[str, ...]:
    """Return the policies that are named, each once.

    Parameters
    ----------
    names
        Names of :data:`KNOWN`.
    place
        Where they stand, for the error.

    Raises
    ------
    ProblemError
        If one is not known, or none is named.
    """
    wanted = (names,) if isinstance(names, str) else tuple(dict.fromkeys(names))
    remedy = f"choose among {', '.join(KNOWN_POLICIES)}"
    faults = [
        ValidationIssue(
            location=place,
            found=str(name),
            remedy=remedy + closest_match_hint(str(name).lower(), KNOWN_POLICIES),
        )
        for name in wanted
        if name not in KNOWN_POLICIES
    ]
    if not wanted:
        faults = [ValidationIssue(location=place, found="none", remedy=remedy)]
    if faults:
        raise ProblemError("back-test", faults)
    return wanted


def run_backtest_policy(
    case: BacktestCase,
    name: str,
    *,
    seed: int,
    on_progress: ProgressCallback,
    export_folder: Path | None = None,
) -> PolicyRun:
    """Run one policy on one plant from start to end.

    Parameters
    ----------
    case
        Site, world and work.
    name
        The policy.
    seed
        Seed of the plant.
    on_progress
        Told of progress.
    export_folder
        Folder for the linear model of every decision, in a folder for policy and plant.

    Returns
    -------
    PolicyRun
        The settled run.
    """
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
    """Return a policy by its name; one that plans writes its models where it is told to.

    Raises
    ------
    ProblemError
        If no policy has this name.
    """
    validate_policies([name], place="policy")
    site, record = case.site, case.inputs.series
    match name:
        case "immediate":
            return immediate_policy(site, record)
        case "threshold":
            return threshold_capped_policy(site, record)
        case "uncapped":
            return threshold_policy(site, record)
        case "scaling":
            return carbonscaler_policy(site, record)
        case "optimal":
            return MpcPolicy(
                site, record, workload=case.workload, on_decision=on_decision, export=export
            )
        case "cvar":
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
        case _:  # whoever makes a policy known has to make it here
            raise NotImplementedError(name)
