"""A simulated plant for demos and tests: its world, its run on the wire, and what it came to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

import sites
from optimizer.service.trials.course import course_of, work_of
from optimizer.service.trials.results import Summary, write_netcdf
from optimizer.service.trials.setting import Setting
from optimizer.service.trials.settle import Bill, Work, settle
from optimizer.service.watching.in_service import RATINGS
from optimizer.service.world import DAY, Files, read_world, zone_of
from telemetry.files import write_json_atomic
from telemetry.simulator.scenario import SimulationResult, SimulationScenario
from twin.errors import SiteError, ValidationIssue
from twin.simulation.limits import count_violations
from twin.site import Site
from twin.time_axes import QUARTER_HOUR
from twin.units import format_minute

SYNTHETIC_START: Final = "2026-06-16T00:00"
"""Where runs over the synthetic June 2026 begin: forecasts look back two weeks."""

LOAD_SCALE: Final = 0.6
"""Mean share of the racks that jobs use. [1]"""

RESULT: Final = "result.json"
COURSE: Final = "plant.nc"


def synthetic_files(site: Site) -> Files:
    """Return the series that ship with gigatwin: made by us, and good for demos only."""
    return Files(
        prices=sites.series_file("prices"),
        weather=sites.series_file("weather"),
        jobs=sites.series_file("jobs"),
        zone=zone_of(site),
    )


def setting_of(
    site: Site, *, start: str = SYNTHETIC_START, steps: int, load_scale: float = LOAD_SCALE
) -> Setting:
    """Return the world of a simulated plant.

    Parameters
    ----------
    site
        The site.
    start
        First moment, in the synthetic June 2026.
    steps
        Quarter-hours to run. [1]
    load_scale
        Mean share of the racks that jobs use. [1]

    Returns
    -------
    Setting
        Over exactly these quarter-hours.
    """
    days = int(np.ceil(steps * QUARTER_HOUR / DAY))
    world = read_world(site, synthetic_files(site), start=start, days=days)
    world = replace(world, end=world.start + steps * QUARTER_HOUR)
    return Setting.of(site, world, load_scale=load_scale)


def scene_of(setting: Setting, *, seed: int, absent: Sequence[str] = ()) -> SimulationScenario:
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
    known = [name for name, machine in site.equipment.items() if type(machine) in RATINGS]
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
class Judgement:
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
    bill: Bill
    work: Work
    violations: xr.DataArray
    counts: Counter[str]

    @property
    def summary(self) -> Summary:
        """The run in numbers, as those of a back-test."""
        return Summary.of(self.bill, self.work, int(self.violations.sum()))

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


def judge(setting: Setting, outcome: SimulationResult, *, seed: int) -> Judgement:
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
    Judgement
        Violations, bill and work.
    """
    count = len(outcome.steps)
    truth = setting.truth.isel(time=slice(0, count), instant=slice(0, count + 1))
    site, work = setting.site, work_of(outcome.queue, outcome.steps)
    bill = settle(
        site,
        outcome.record,
        setting.world.record,
        work=work,
        peak_power=float(setting.begin["peak_power"]),
    )
    course = course_of(
        replace(setting, truth=truth), outcome.record, steps=outcome.steps, decisions=()
    )
    return Judgement(
        seed=seed,
        course=course,
        bill=bill,
        work=work,
        violations=count_violations(site, outcome.record),
        counts=outcome.counts,
    )


def write(folder: Path, site: Site, judgement: Judgement) -> None:
    """Write a judgement and the course behind it, each file whole or not at all."""
    title = f"{site.name}, simulated plant {judgement.seed}"
    write_netcdf(folder / COURSE, judgement.course, site=site.name, title=title)
    write_json_atomic(folder / RESULT, judgement.as_json())
