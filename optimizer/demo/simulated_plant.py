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
from optimizer.backtesting.policy_run import build_trajectory, work_balance
from optimizer.backtesting.results import PolicySummary
from optimizer.backtesting.runner import run_backtest_policy
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
    setting: BacktestCase, *, seed: int, absent: Sequence[str] = ()
) -> SimulationScenario:
    """Return what a simulated plant is told of its world.

    Parameters
    ----------
    setting
        Its world.
    seed
        Of its hidden nature.
    absent
        Stores, sources and heat pumps that are out of service.

    Raises
    ------
    SiteError
        If one of them is none of the site's.
    """
    site = setting.site
    known = [name for name, machine in site.equipment.items() if type(machine) in DERATABLE]
    mend = f"plans of {site.name} can do without {', '.join(known)}"
    strangers = sorted(set(absent) - set(known))
    if strangers:
        faults = [
            ValidationIssue(place="out of service", value=name, mend=mend) for name in strangers
        ]
        raise SiteError(site.name, faults)
    return SimulationScenario(
        site=setting.site,
        surroundings=setting.surroundings,
        begin=setting.begin,
        workload=setting.workload,
        service_racks=setting.truth["service_racks"].to_numpy().tolist(),
        seed=seed,
        absent=tuple(absent),
    )


@dataclass(frozen=True, kw_only=True)
class SimulatedRunResult:
    """What a run on the wire came to.

    Attributes
    ----------
    seed
        Seed of the plant.
    course
        What happened in quarter-hours.
    bill, work, violations
        The settled run, its work, and the violated minutes by limit.
    counts
        Messages by kind, orders refused, quarter-hours undecided.
    """

    seed: int
    course: xr.Dataset
    bill: Settlement
    work: WorkBalance
    violations: xr.DataArray
    counts: Counter[str]

    @property
    def summary(self) -> PolicySummary:
        """The run in numbers, as those of a back-test."""
        return PolicySummary.of(self.bill, self.work, int(self.violations.sum()))

    def as_json(self) -> dict[str, object]:
        """Return the object that is written down."""
        broken = self.violations.to_series()
        return {
            "seed": self.seed,
            "start": format_minute(self.course["time"].to_numpy()[0]),
            "steps": self.course.sizes["time"],
            "undecided": self.counts["undecided"],
            "summary": asdict(self.summary),
            "accounts": self.bill.accounts,
            "violations": {str(name): int(count) for name, count in broken[broken > 0].items()},
            "messages": {name: int(count) for name, count in sorted(self.counts.items())},
        }


def settle_run(
    setting: BacktestCase, outcome: SimulationResult, *, seed: int
) -> SimulatedRunResult:
    """Settle what a simulated plant really did.

    Parameters
    ----------
    setting
        Its world.
    outcome
        What it did; it may have been stopped before the end.
    seed
        Seed of the plant.

    Returns
    -------
    SimulatedRunResult
        Violations, bill and work.
    """
    count = len(outcome.steps)
    truth = setting.truth.isel(time=slice(0, count), instant=slice(0, count + 1))
    site, work = setting.site, work_balance(outcome.queue, outcome.steps)
    bill = settle(
        site,
        outcome.record,
        setting.world.record,
        work=work,
        peak_power=float(setting.begin["peak_power"]),
    )
    course = build_trajectory(
        replace(setting, truth=truth), outcome.record, steps=outcome.steps, decisions=()
    )
    return SimulatedRunResult(
        seed=seed,
        course=course,
        bill=bill,
        work=work,
        violations=count_violations(site, outcome.record),
        counts=outcome.counts,
    )


def write_run(folder: Path, site: Site, judgement: SimulatedRunResult) -> None:
    """Write a judgement and the course behind it, each file whole or not at all."""
    title = f"{site.name}, simulated plant {judgement.seed}"
    write_netcdf(folder / TRAJECTORY_FILE, judgement.course, site=site.name, title=title)
    write_json_atomic(folder / RESULT_FILE, judgement.as_json())


COMPARED_POLICIES: Final = ("threshold", "immediate")
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
        name: run_backtest_policy(setting, name, seed=seed, listen=lambda *_: None)
        for name in COMPARED_POLICIES
    }
    write_json_atomic(path, {name: asdict(trial.summary) for name, trial in trials.items()})


if __name__ == "__main__":
    _, name, count, number, file = sys.argv
    compare_policies(name, steps=int(count), seed=int(number), path=Path(file))
