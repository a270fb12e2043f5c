"""A simulated plant for demos and tests: its world, its run on the wire, and what it came to.

What other policies would have done on the plant of a demo; a process of its own.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import xarray as xr

import sites
from optimizer.backtesting.case import BacktestCase, synthetic_case
from optimizer.backtesting.results import REFERENCE_RULE, PolicySummary
from optimizer.backtesting.runner import build_trajectory, run_backtest_policy, work_balance
from optimizer.backtesting.settlement import Settlement, WorkBalance, settle
from optimizer.reporting.run_files import write_netcdf
from optimizer.service.availability import DERATABLE
from telemetry.files import write_json_atomic
from telemetry.simulator.scenario import SimulationResult, SimulationScenario
from twin.errors import SiteError, ValidationIssue
from twin.simulation.limits import count_violations
from twin.site import Site
from twin.units import format_minute

RESULT_FILE: Final = "result.json"
TRAJECTORY_FILE: Final = "plant.nc"


def build_scene(
    case: BacktestCase, *, seed: int, out_of_service: Sequence[str] = ()
) -> SimulationScenario:
    """Return what a simulated plant is told of its world.

    Parameters
    ----------
    case
        Its world.
    seed
        Of its hidden nature.
    out_of_service
        Stores, sources and heat pumps that are out of service.

    Raises
    ------
    SiteError
        If one of them is none of the site's.
    """
    site = case.site
    known = [name for name, machine in site.equipment.items() if type(machine) in DERATABLE]
    remedy = f"plans of {site.name} can do without {', '.join(known)}"
    strangers = sorted(set(out_of_service) - set(known))
    if strangers:
        faults = [
            ValidationIssue(location="out of service", found=name, remedy=remedy)
            for name in strangers
        ]
        raise SiteError(site.name, faults)
    return SimulationScenario(
        site=case.site,
        boundary_conditions=case.surroundings,
        initial_state=case.initial_state,
        workload=case.workload,
        service_racks=case.actual["service_racks"].to_numpy().tolist(),
        seed=seed,
        out_of_service=tuple(out_of_service),
    )


@dataclass(frozen=True, kw_only=True)
class SimulatedRunResult:
    """What a run on the wire came to.

    Attributes
    ----------
    seed
        Seed of the plant.
    trajectory
        What happened in quarter-hours.
    settlement, work, violations
        The settled run, its work, and the violated minutes by limit.
    counts
        Messages by kind, orders refused, quarter-hours undecided.
    """

    seed: int
    trajectory: xr.Dataset
    settlement: Settlement
    work: WorkBalance
    violations: xr.DataArray
    counts: Counter[str]

    @property
    def summary(self) -> PolicySummary:
        """The run in numbers, as those of a back-test."""
        return PolicySummary.of(self.settlement, self.work, int(self.violations.sum()))

    def as_json(self) -> dict[str, object]:
        """Return the object that is written down."""
        broken = self.violations.to_series()
        return {
            "seed": self.seed,
            "start": format_minute(self.trajectory["time"].to_numpy()[0]),
            "steps": self.trajectory.sizes["time"],
            "undecided": self.counts["undecided"],
            "summary": asdict(self.summary),
            "accounts": self.settlement.accounts,
            "violations": {str(name): int(count) for name, count in broken[broken > 0].items()},
            "messages": {name: int(count) for name, count in sorted(self.counts.items())},
        }


def settle_run(case: BacktestCase, result: SimulationResult, *, seed: int) -> SimulatedRunResult:
    """Settle what a simulated plant really did.

    Parameters
    ----------
    case
        Its world.
    result
        What it did; it may have been stopped before the end.
    seed
        Seed of the plant.

    Returns
    -------
    SimulatedRunResult
        Violations, bill and work.
    """
    count = len(result.steps)
    truth = case.actual.isel(time=slice(0, count), instant=slice(0, count + 1))
    site, work = case.site, work_balance(result.queue, result.steps)
    bill = settle(
        site,
        result.record,
        case.inputs.series,
        work=work,
        peak_power=float(case.initial_state["peak_power"]),
    )
    course = build_trajectory(
        replace(case, actual=truth), result.record, steps=result.steps, decisions=()
    )
    return SimulatedRunResult(
        seed=seed,
        trajectory=course,
        settlement=bill,
        work=work,
        violations=count_violations(site, result.record),
        counts=result.counts,
    )


def write_run(folder: Path, site: Site, run_result: SimulatedRunResult) -> None:
    """Write a judgement and the course behind it, each file whole or not at all."""
    title = f"{site.name}, simulated plant {run_result.seed}"
    write_netcdf(folder / TRAJECTORY_FILE, run_result.trajectory, site=site.name, title=title)
    write_json_atomic(folder / RESULT_FILE, run_result.as_json())


COMPARED_POLICIES: Final = (REFERENCE_RULE, "immediate")
"""Policies that are run on the same plant."""


def compare_policies(site: str, *, steps: int, seed: int, path: Path) -> None:
    """Run the policies on the plant of a demo, and write their summaries.

    Parameters
    ----------
    site
        Name of a declared site, or path of a file.
    steps
        Quarter-hours to run. [1]
    seed
        Seed of the plant.
    path
        File for the summaries.
    """
    setting = synthetic_case(sites.load_site(site), steps=steps)
    trials = {
        name: run_backtest_policy(setting, name, seed=seed, on_progress=lambda *_: None)
        for name in COMPARED_POLICIES
    }
    write_json_atomic(path, {name: asdict(trial.summary) for name, trial in trials.items()})


if __name__ == "__main__":
    _, name, count, number, file = sys.argv
    compare_policies(name, steps=int(count), seed=int(number), path=Path(file))
