"""Simulated plant of demos: its scenario, its settled run, and other policies on the same plant."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import xarray as xr

import sites
from optimizer.backtesting.case import BacktestCase, synthetic_case
from optimizer.backtesting.results import PolicySummary
from optimizer.backtesting.runner import build_trajectory, run_backtest_policy, work_balance
from optimizer.backtesting.settlement import Settlement, WorkBalance, settle
from optimizer.policies.policy import REFERENCE_RULE
from optimizer.reporting.run_files import write_netcdf
from telemetry.durable_files import write_json_atomic
from telemetry.simulator.faults import PlantFault
from telemetry.simulator.site import SimulationResult, SimulationScenario
from twin.simulation.operating_limits import count_violations
from twin.site import Site
from twin.units import format_minute

RESULT_FILE: Final = "result.json"
TRAJECTORY_FILE: Final = "plant.nc"

COMPARED_POLICIES: Final = (REFERENCE_RULE, "immediate")
"""Policies that also run on the plant of a demo."""


def build_plant_scenario(
    case: BacktestCase, *, seed: int, faults: Sequence[PlantFault] = ()
) -> SimulationScenario:
    """Return the scenario of a simulated plant with faults.

    `seed` determines the plant's parameters.
    """
    return SimulationScenario(
        site=case.site,
        boundary_conditions=case.boundary_conditions,
        initial_state=case.initial_state,
        workload=case.workload,
        service_racks=case.true_series["service_racks"].to_numpy().tolist(),
        seed=seed,
        faults=tuple(faults),
    )


@dataclass(frozen=True, kw_only=True)
class SimulatedRunResult:
    """Result of a run over MQTT.

    - `settlement`, `work_balance`, `violated_minutes`: settled costs, work done, and minutes of
      violation by limit.
    - `event_counts`: messages by kind, orders refused, and quarter-hours without decision.
    """

    seed: int
    trajectory: xr.Dataset
    settlement: Settlement
    work_balance: WorkBalance
    violated_minutes: xr.DataArray
    event_counts: Counter[str]

    @property
    def summary(self) -> PolicySummary:
        """Summary of the run, as those of a back-test."""
        return PolicySummary.of(
            self.settlement, self.work_balance, int(self.violated_minutes.sum())
        )

    def as_json(self) -> dict[str, object]:
        """Return the object for the JSON file."""
        violated = self.violated_minutes.to_series()
        return {
            "seed": self.seed,
            "start": format_minute(self.trajectory["time"].to_numpy()[0]),
            "steps": self.trajectory.sizes["time"],
            "undecided": self.event_counts["undecided"],
            "summary": asdict(self.summary),
            "accounts": self.settlement.accounts,
            "violations": {str(name): int(count) for name, count in violated[violated > 0].items()},
            "messages": {name: int(count) for name, count in sorted(self.event_counts.items())},
        }


def settle_run(case: BacktestCase, result: SimulationResult, *, seed: int) -> SimulatedRunResult:
    """Settle the run of a simulated plant, which may have been stopped early."""
    count = len(result.backlog_and_progress)
    actual = case.true_series.isel(time=slice(0, count), instant=slice(0, count + 1))
    site, work = case.site, work_balance(result.queue, result.backlog_and_progress)
    bill = settle(
        site,
        result.record,
        case.inputs.series,
        work=work,
        peak_power=float(case.initial_state["peak_power"]),
    )
    trajectory = build_trajectory(
        replace(case, true_series=actual),
        result.record,
        steps=result.backlog_and_progress,
        decisions=(),
    )
    return SimulatedRunResult(
        seed=seed,
        trajectory=trajectory,
        settlement=bill,
        work_balance=work,
        violated_minutes=count_violations(site, result.record),
        event_counts=result.event_counts,
    )


def write_run(folder: Path, site: Site, run_result: SimulatedRunResult) -> None:
    """Write result and trajectory of a run, each file atomically."""
    title = f"{site.name}, simulated plant {run_result.seed}"
    write_netcdf(folder / TRAJECTORY_FILE, run_result.trajectory, site=site.name, title=title)
    write_json_atomic(folder / RESULT_FILE, run_result.as_json())


def compare_policies(site: str, *, steps: int, path: Path) -> None:
    """Run the policies on the plant of a demo, and write their summaries to `path`.

    `site` is a declared name or a path, and `steps` counts quarter-hours. [1]
    """
    case = synthetic_case(sites.load_site(site), steps=steps)
    runs = {
        # with the seed of the plant
        name: run_backtest_policy(case, name, seed=0, on_progress=lambda *_: None)
        for name in COMPARED_POLICIES
    }
    write_json_atomic(path, {name: asdict(run.summary) for name, run in runs.items()})


if __name__ == "__main__":
    _, name, count, file = sys.argv
    compare_policies(name, steps=int(count), path=Path(file))
