"""Back-test: run policies in closed loop on a plant that is not what they believe it to be."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from optimizer.baselines.informed import INFORMED, Informed
from optimizer.decision import Decision
from optimizer.hedge.hedging import Hedging
from optimizer.policies import Optimal, Policy, immediate, scaling, threshold, uncapped
from optimizer.service.trials.course import Step
from optimizer.service.trials.held import plant_of
from optimizer.service.trials.playing import played
from optimizer.service.trials.results import Results, Summary, means_over
from optimizer.service.trials.setting import Setting
from optimizer.service.trials.settle import Bill
from optimizer.service.trials.trial import Trial, trial_of
from twin.errors import ProblemError, ValidationIssue
from twin.text import closest_match_hint
from twin.units import format_minute
from twin.validation import check_argument_types

POLICIES: Final = ("immediate", "threshold", "optimal", "perfect")
"""The usual policies, in the order in which they are run and shown."""

KNOWN: Final = (*POLICIES, "uncapped", "scaling", "cvar", *INFORMED)
"""All policies: ``uncapped`` is ``threshold`` without caps; ``scaling`` is a published rule that
follows the carbon of the grid; ``cvar`` is ``optimal`` with scenarios, hedged against the dearest
of them; those of :data:`optimizer.baselines.informed.INFORMED` are ``optimal`` told a part of what
comes."""

LEAST_SEEDS: Final = 1
"""Plants that a back-test needs. [1]"""

type Listener = Callable[[str, int, int, int], None]
"""Told of progress: policy, seed, quarter-hours done, quarter-hours in all."""

type Ran = tuple[Summary, Bill, list[dict[str, object]]]
"""What is kept of a trial until all are done: its summary, its bill, the limits it broke."""


def backtest(
    setting: Setting,
    *,
    policies: Sequence[str] = POLICIES,
    seeds: int = 1,
    listen: Listener = lambda *_: None,
    keep: Callable[[Trial], None] = lambda _: None,
    export: Path | None = None,
) -> Results:
    """Run policies on the same plants and compare them.

    Parameters
    ----------
    setting
        Site, world and work.
    policies
        Names of :data:`KNOWN`; one that is named twice is run once.
    seeds
        Number of plants, each with its own hidden nature; one at least. [1]
    listen
        Told of progress.
    keep
        Given every trial as soon as it is done.
    export
        Folder for the linear model of every decision; none are written without.

    Returns
    -------
    Results
        Summaries by policy.

    Raises
    ------
    ProblemError
        If a policy is not known, none is named, or there is no plant; before anything is run.
    """
    check_argument_types("back-test", setting=(setting, Setting))
    names = policies_of(policies)
    if seeds < LEAST_SEEDS:
        mend = f"plants to be run: {LEAST_SEEDS} at least"
        raise ProblemError(
            "back-test", [ValidationIssue(place="seeds", value=str(seeds), mend=mend)]
        )
    began = time.process_time()
    ran: dict[str, list[Ran]] = {name: [] for name in names}
    for seed in range(seeds):
        for name in names:
            trial = run(setting, name, seed=seed, listen=listen, export=export)
            keep(trial)
            ran[name].append((trial.summary, trial.bill, trial.broken))
    return _summed(setting, ran, seeds=seeds, cpu_s=time.process_time() - began)


def _summed(
    setting: Setting, ran: Mapping[str, Sequence[Ran]], *, seeds: int, cpu_s: float
) -> Results:
    """Return the results of a setting, from what was kept of its trials by policy."""
    world = setting.world
    summaries = {name: [summary for summary, _, _ in many] for name, many in ran.items()}
    bills = {name: [bill for _, bill, _ in many] for name, many in ran.items()}
    return Results(
        site=setting.site.name,
        start=format_minute(world.start),
        days=round((world.end - world.start) / np.timedelta64(1, "D")),
        seeds=seeds,
        cpu_s=cpu_s,
        gaps=world.gaps,
        notes=world.notes,
        policies={name: Summary.over(many) for name, many in summaries.items()},
        by_seed=summaries,
        accounts={name: means_over([bill.accounts for bill in b]) for name, b in bills.items()},
        weighed={name: means_over([bill.weighted for bill in b]) for name, b in bills.items()},
        broken={name: [row for _, _, rows in many for row in rows] for name, many in ran.items()},
    )


def policies_of(names: Iterable[str], *, place: str = "policies") -> tuple[str, ...]:
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
    mend = f"choose among {', '.join(KNOWN)}"
    faults = [
        ValidationIssue(
            place=place, value=str(name), mend=mend + closest_match_hint(str(name).lower(), KNOWN)
        )
        for name in wanted
        if name not in KNOWN
    ]
    if not wanted:
        faults = [ValidationIssue(place=place, value="none", mend=mend)]
    if faults:
        raise ProblemError("back-test", faults)
    return wanted


def run(
    setting: Setting, name: str, *, seed: int, listen: Listener, export: Path | None = None
) -> Trial:
    """Run one policy on one plant from start to end.

    Parameters
    ----------
    setting
        Site, world and work.
    name
        The policy.
    seed
        Seed of the plant.
    listen
        Told of progress.
    export
        Folder for the linear model of every decision, in a folder for policy and plant.

    Returns
    -------
    Trial
        The settled run.
    """
    decisions: list[Decision] = []
    models = export and export / f"{name}_{seed}"
    policy = make_policy(
        setting, name, lambda decision: decisions.append(decision.kept()), export=models
    )
    plant = plant_of(setting, seed=seed)
    count = setting.truth.sizes["time"]
    steps: list[Step] = []
    for queue, progress in played(setting, policy, plant, decisions=decisions):
        steps.append((queue.backlog, progress))
        listen(name, seed, len(steps), count)
    return trial_of(setting, plant, queue, name=name, seed=seed, steps=steps, decisions=decisions)


def make_policy(
    setting: Setting,
    name: str,
    listen: Callable[[Decision], None],
    *,
    export: Path | None = None,
) -> Policy:
    """Return a policy by its name; one that plans writes its models where it is told to.

    Raises
    ------
    ProblemError
        If no policy has this name.
    """
    policies_of([name], place="policy")
    site, record = setting.site, setting.world.record
    match name:
        case "immediate":
            return immediate(site, record)
        case "threshold":
            return threshold(site, record)
        case "uncapped":
            return uncapped(site, record)
        case "scaling":
            return scaling(site, record)
        case "optimal":
            return Optimal(site, record, workload=setting.workload, listen=listen, export=export)
        case "cvar":
            return Hedging(site, record, workload=setting.workload, listen=listen, export=export)
        case name if name in INFORMED:
            return Informed(
                site,
                record,
                knows=INFORMED[name],
                workload=setting.workload,
                listen=listen,
                export=export,
            )
        case "perfect":
            return Optimal(
                site,
                record,
                workload=setting.workload,
                until=setting.world.end,
                final_price=float(setting.truth["electricity_price"].mean()),
                listen=listen,
                export=export,
            )
        case _:  # whoever makes a policy known has to make it here
            raise NotImplementedError(name)
