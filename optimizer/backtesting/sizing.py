"""Sizing study: what other sizes of a machine are worth a year, with paired intervals and NPV.

Every option runs the same weeks, seeds and policy as the present site. A replicate is one year with
one seed. It draws its own weeks: the peak week is always in, and the other weeks of the year are
split into strata of consecutive weeks, of which each gives one week at random. A week stands for
all of its stratum, so the estimate of a year is unbiased for everything that is a sum of weeks.

=================  ====================================================================
year               ``C = sum_w f_w (A_w + V_w) + D``, with accounts ``A_w`` and ``f_w`` weeks that
                   week ``w`` stands for; ``V_w`` are the changes of stocks and the backlog
monthly peaks      ``D = sum_w m_w p_w P_w``: week ``w`` has the peak ``P_w`` of each of the
                   ``m_w = 12 f_w / sum(f)`` months for which it stands, at the price ``p_w``
yearly peak        ``D = max_w p_w P_w``, billed once
saving             ``S = C_present - C_option`` in each replicate; mean, and Student's t interval
net present value  ``-I + sum_k S (1 - d)^(k - 1) / (1 + r)^k`` over the years ``k = 1 .. n``
=================  ====================================================================

The pairs of an interval are years, each averaged over its seeds, if there are several years, else
seeds. The interval covers what differs between pairs: the drawn weeks, hidden parameters of the
plants, and with several years also weather, prices and jobs.

References
----------
- W. Short, D. J. Packey, T. Holt, A Manual for the Economic Evaluation of Energy Efficiency and
  Renewable Energy Technologies, NREL/TP-462-5173, 1995, section on net present value,
  doi:10.2172/35391.
- K. M. Wolter, Introduction to Variance Estimation, 2nd ed., Springer 2007, chapter 2 (independent
  random groups), doi:10.1007/978-0-387-35099-8.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np

from optimizer.backtesting.case import (
    DEFAULT_LOAD_SCALE,
    BacktestCase,
    find_peak_week,
    with_forecast_history,
)
from optimizer.backtesting.results import Economics, PairedDifference, paired_difference
from optimizer.backtesting.run_folder import (
    build_identity,
    read_json_file,
    validate_file_content,
)
from optimizer.backtesting.runner import PolicyRun, run_backtest_policy, validate_policies
from optimizer.backtesting.settlement import billed_peaks
from optimizer.backtesting.size_options import SizeOption
from optimizer.inputs.series_files import RunInputs, SeriesFiles, read_run_inputs
from optimizer.policies.policy import FORECAST_PLANNER
from telemetry.durable_files import write_json_atomic
from telemetry.series import read_prices
from twin.argument_checks import check_argument_types
from twin.equipment import Renewable
from twin.errors import IssueCode, ProblemError
from twin.markets.tariffs import MONTHS_PER_YEAR
from twin.site import DIGEST_BYTES, Site
from twin.time_axes import DAY
from twin.variables import net_import

WEEK_DAYS: Final = 7
WEEKS_PER_YEAR: Final = 52
"""Whole weeks from 1 January on; the last day or two count in proportion. [1]"""

STUDIED_YEAR_DAYS: Final = 365.0
"""Length of the year to which results refer. [d]"""

DEFAULT_WEEKS: Final = 5
"""Weeks of a replicate, the peak week included. [1]"""

MIN_WEEKS: Final = 2
"""The peak week, and one that stands for all others. [1]"""

DEFAULT_SEEDS: Final = 3
"""Simulated plants in each year. [1]"""

NOT_DISTINGUISHABLE: Final = "not distinguishable"
NO_INTERVAL: Final = "no interval"


@dataclass(frozen=True, kw_only=True)
class SampledRun:
    """A part of a year that is run.

    - `year`, `seed`: replicate to which it belongs.
    - `start`, `days`: what is run. [datetime64, UTC; d]
    - `weight`: how often it counts in the year. [1]
    - `is_peak`: whether it is the week of the year's highest import.
    """

    year: int
    seed: int
    start: np.datetime64
    days: int
    weight: float
    is_peak: bool = False

    def as_json(self) -> dict[str, object]:
        """Return the object that ``--json`` writes."""
        return {**asdict(self), "start": str(self.start.astype("datetime64[m]"))}


def sample_year(
    year: int, seed: int, *, weeks: int | None, peak_week: int
) -> tuple[SampledRun, ...]:
    """Return the runs of a replicate, in order of time.

    Parameters
    ----------
    year, seed
        The replicate; each draws its own weeks, and all options run the same ones.
    weeks
        Number of weeks, the peak week included; None runs the year as one. [1]
    peak_week
        Number of the peak week from 1 January, from 0. [1]

    Notes
    -----
    The peak week is a stratum of its own. The other weeks, in order, are split into strata that
    differ by one week at most; each gives one week, with equal probabilities. The weights of all
    runs sum to the weeks of a year, 365 / 7.
    """
    first, scale = np.datetime64(f"{year}-01-01T00:00", "ns"), STUDIED_YEAR_DAYS / WEEK_DAYS
    scale /= WEEKS_PER_YEAR
    if weeks is None:
        whole = WEEK_DAYS * WEEKS_PER_YEAR
        return (SampledRun(year=year, seed=seed, start=first, days=whole, weight=scale),)
    rng = np.random.default_rng((year, seed))
    others = [week for week in range(WEEKS_PER_YEAR) if week != peak_week]
    drawn = {peak_week: 1}
    for stratum in np.array_split(others, weeks - 1):
        drawn[int(rng.choice(stratum))] = len(stratum)
    return tuple(
        SampledRun(
            year=year,
            seed=seed,
            start=first + week * WEEK_DAYS * DAY,
            days=WEEK_DAYS,
            weight=size * scale,
            is_peak=week == peak_week,
        )
        for week, size in sorted(drawn.items())
    )


@dataclass(frozen=True, kw_only=True)
class RunFigures:
    """Figures of one run.

    - `cost`: all accounts but the demand charges. [EUR]
    - `excess`: charge of powers beyond the contracted ones. [EUR]
    - `peak`: highest net import of a quarter-hour. [MW]
    - `peak_charge`: what the run's peak costs in one billing period. [EUR]
    - `billed_peaks`: charge of all billing periods of the run, each with its own peak. [EUR]
    - `weighted`: weights of carbon, lateness and budgets in the objective. [EUR]
    - `carbon`, `lateness`: at equal work [kg], summed over jobs [h].
    - `violations`, `fallbacks`: minutes beyond limits, plans by fallback. [1]
    - `cpu_s`: processor time of the run. [s]
    """

    cost: float
    excess: float
    peak: float
    peak_charge: float
    billed_peaks: float
    weighted: float
    carbon: float
    lateness: float
    violations: int
    fallbacks: int
    cpu_s: float

    @classmethod
    def of(cls, site: Site, run: PolicyRun, *, cpu_s: float) -> "RunFigures":
        """Return the figures of a settled run; its peaks are counted from 0."""
        bill, summary = run.settlement, run.summary
        accounts = dict(bill.accounts)
        del accounts["peak"]
        excess = accounts.pop("excess", 0.0)
        net = net_import(run.trajectory).to_numpy()
        peaks, prices = billed_peaks(site, run.trajectory["time"].to_numpy(), net)
        return cls(
            cost=sum(accounts.values()),
            excess=excess,
            peak=float(net.max()),
            peak_charge=float((peaks * prices).max()),
            billed_peaks=float(peaks @ prices),
            weighted=sum(bill.weighted_terms.values()),
            carbon=bill.carbon_equal_work_kg or 0.0,
            lateness=summary.lateness_h,
            violations=summary.violations,
            fallbacks=summary.fallbacks,
            cpu_s=cpu_s,
        )


@dataclass(frozen=True, kw_only=True)
class YearFigures:
    """A year of an option in one replicate: money [EUR], carbon [kg], lateness [h], peak [MW]."""

    cost: float
    demand_charges: float
    objective: float
    carbon: float
    lateness: float
    peak: float


def estimate_year(
    sample: Sequence[SampledRun], runs: Sequence[RunFigures], *, has_yearly_peak: bool
) -> YearFigures:
    """Return a year from the runs of a replicate; see the equations of the module.

    A sample of one run is a whole year, of which every billing period is billed as it was.
    """
    weights = np.array([one.weight for one in sample])

    def total(name: str) -> float:
        return float(weights @ np.array([getattr(run, name) for run in runs]))

    months = MONTHS_PER_YEAR * weights / weights.sum()
    if len(sample) == 1:
        demand = runs[0].billed_peaks + runs[0].excess
    else:
        charges = np.array([run.peak_charge for run in runs])
        demand = float(charges.max() if has_yearly_peak else months @ charges)
        demand += float(months @ np.array([run.excess for run in runs]))
    cost = total("cost") + demand
    return YearFigures(
        cost=cost,
        demand_charges=demand,
        objective=cost + total("weighted"),
        carbon=total("carbon"),
        lateness=total("lateness"),
        peak=max(run.peak for run in runs),
    )


@dataclass(frozen=True, kw_only=True)
class SizingResults:
    """Result of a sizing study.

    - `options`: the present site first.
    - `years`: Option -> year of each replicate, in the order of `replicates`.
    - `replicates`: (year, seed) of each.
    - `sample`, `runs`: what was run, and (option, run) -> its figures.
    - `economics`: terms of the investment; None without.
    """

    site: str
    policy: str
    load_scale: float
    options: tuple[SizeOption, ...]
    replicates: tuple[tuple[int, int], ...]
    years: tuple[tuple[YearFigures, ...], ...]
    sample: tuple[SampledRun, ...]
    runs: tuple[tuple[RunFigures, ...], ...]
    economics: Economics | None
    gaps: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def has_several_years(self) -> bool:
        """Whether the pairs of the intervals are years, and not seeds."""
        return len({year for year, _ in self.replicates}) > 1

    def paired(self, option: int, other: int = 0, name: str = "cost") -> PairedDifference:
        """Return a figure of one option less that of another, paired by year or by seed."""
        return paired_difference(self._units(option, name), self._units(other, name))

    def _units(self, option: int, name: str) -> list[float]:
        """Return a figure of an option in each unit of the interval."""
        values = [getattr(year, name) for year in self.years[option]]
        if not self.has_several_years:
            return values
        by_year: dict[int, list[float]] = {}
        for (year, _), value in zip(self.replicates, values, strict=True):
            by_year.setdefault(year, []).append(value)
        return [float(np.mean(many)) for many in by_year.values()]

    def worth(self, option: int, other: int = 0) -> PairedDifference:
        """Return what an option is worth beside another one: net present value, or saving a year.

        The net present value is linear in the saving, so its interval is that of the saving,
        scaled. [EUR; EUR a-1 without an investment]
        """
        less = self.paired(option, other)
        factor, spent = 1.0, 0.0
        if self.economics is not None:
            factor = self.economics.present_value_factor
            spent = self.economics.investment[option] - self.economics.investment[other]
        half = None if less.half_width is None else factor * less.half_width
        return replace(less, mean=-factor * less.mean - spent, half_width=half)

    def verdict(self, option: int, other: int = 0) -> str:
        """Return whether an option is ``better``, ``worse`` or not distinguishable from another."""
        found = self.worth(option, other)
        if found.half_width is None:
            return NO_INTERVAL
        if not found.is_significant:
            return NOT_DISTINGUISHABLE
        return "better" if found.mean > 0.0 else "worse"

    @cached_property
    def best(self) -> tuple[str, ...]:
        """Labels of the option that is worth most, and of those not distinguishable from it."""
        top = max(range(len(self.options)), key=lambda one: self.worth(one).mean)
        return tuple(
            option.label
            for number, option in enumerate(self.options)
            if number == top or self.verdict(top, number) != "better"
        )

    def as_json(self) -> dict[str, object]:
        """Return the object that ``--json`` writes; see ``docs/how-to/planners/size-a-tank.md``."""
        terms = self.economics
        return {
            "site": self.site,
            "policy": self.policy,
            "load_scale": self.load_scale,
            "years": sorted({year for year, _ in self.replicates}),
            "seeds": len({seed for _, seed in self.replicates}),
            "pairs": self.paired(1).pair_count,
            "pair": "year" if self.has_several_years else "seed",
            "options": [self._option_json(number) for number in range(len(self.options))],
            "best": list(self.best),
            "economics": terms
            and {**asdict(terms), "present_value_factor": terms.present_value_factor},
            "sample": [one.as_json() for one in self.sample],
            "cpu_s": round(sum(run.cpu_s for runs in self.runs for run in runs), 1),
            "gaps": list(self.gaps),
            "notes": list(self.notes),
        }

    def _option_json(self, number: int) -> dict[str, object]:
        option, runs, terms = self.options[number], self.runs[number], self.economics
        saving, worth = self.paired(number), self.worth(number)
        half = saving.half_width
        mean = {
            name: float(np.mean([getattr(year, name) for year in self.years[number]]))
            for name in YearFigures.__dataclass_fields__
        }
        return {
            "label": option.label,
            "sizes": dict(option.sizes),
            "is_present": option.is_present,
            "cost_eur_a": mean["cost"],
            "demand_charges_eur_a": mean["demand_charges"],
            "objective_eur_a": mean["objective"],
            "carbon_kg_a": mean["carbon"],
            "lateness_h_a": mean["lateness"],
            "peak_mw": mean["peak"],
            "saving_eur_a": -saving.mean,
            "low_eur_a": None if half is None else -saving.mean - half,
            "high_eur_a": None if half is None else -saving.mean + half,
            "savings_eur_a": [
                present.cost - own.cost
                for present, own in zip(self.years[0], self.years[number], strict=True)
            ],
            "investment_eur": terms and terms.investment[number],
            "npv_eur": terms and worth.mean,
            "npv_low_eur": None if terms is None or half is None else worth.as_json()["low_eur"],
            "npv_high_eur": None if terms is None or half is None else worth.as_json()["high_eur"],
            "verdict": "present" if option.is_present else self.verdict(number),
            "not_distinguishable_from": [
                other.label
                for place, other in enumerate(self.options)
                if place != number and self.verdict(number, place) == NOT_DISTINGUISHABLE
            ],
            "violations": sum(run.violations for run in runs),
            "fallbacks": sum(run.fallbacks for run in runs),
        }


@dataclass(frozen=True, kw_only=True)
class StudyDesign:
    """Which runs a study makes.

    - `years`: calendar years, each covered by the series from 1 January for 52 weeks.
    - `weeks`: weeks of each replicate, the peak week included; None runs whole years. [1]
    - `seeds`: simulated plants in each year. [1]
    - `policy`: name of a policy of :data:`optimizer.policies.policy.KNOWN_POLICIES`.
    - `load_scale`: mean movable work as a share of all racks at full work. [1]

    Raises ProblemError if a value is out of range, or the policy is unknown.
    """

    years: tuple[int, ...]
    weeks: int | None = DEFAULT_WEEKS
    seeds: int = DEFAULT_SEEDS
    policy: str = FORECAST_PLANNER
    load_scale: float = DEFAULT_LOAD_SCALE

    def __post_init__(self) -> None:
        """Check the values."""
        (policy,) = validate_policies([self.policy], place="policy")
        object.__setattr__(self, "policy", policy)
        checks = (
            ("years", str(self.years), bool(self.years), "at least one year, each once"),
            ("years", str(self.years), len(set(self.years)) == len(self.years), "each year once"),
            (
                "weeks",
                str(self.weeks),
                self.weeks is None or MIN_WEEKS <= self.weeks <= WEEKS_PER_YEAR,
                f"{MIN_WEEKS} to {WEEKS_PER_YEAR} weeks, or a whole year",
            ),
            ("seeds", str(self.seeds), self.seeds >= 1, "at least one plant"),
        )
        faults = [
            IssueCode.OUT_OF_RANGE.issue(
                place, found=found, expected=expected, remedy="name a value in this range"
            )
            for place, found, is_right, expected in checks
            if not is_right
        ]
        ProblemError.raise_if_any("size", faults)


type StudyProgress = Callable[[int, int, int, int], None]
"""Receives runs done and in all, quarter-hours done and in the present run."""


def study_sizes(
    site: Site,
    files: SeriesFiles,
    options: Sequence[SizeOption],
    *,
    design: StudyDesign,
    folder: Path | None = None,
    on_progress: StudyProgress = lambda *_: None,
) -> SizingResults:
    """Run all options on the same weeks, seeds and policy, and estimate their years.

    Parameters
    ----------
    site, files
        The present site and its series.
    options
        Result of :func:`build_size_options`, the present site first.
    design
        Years, weeks, seeds and policy.
    folder
        Keeps the figures of each finished run; a run with the same site, series, plant, policy and
        version is not repeated. None keeps nothing.
    on_progress
        Receives the progress.

    Returns
    -------
    SizingResults
        Years of all options, with paired intervals. Add the terms of an investment with
        ``dataclasses.replace(results, economics=...)``.

    Raises
    ------
    SeriesError
        If the series do not cover a year.
    """
    check_argument_types("size", site=(site, Site), files=(files, SeriesFiles))
    sample: list[SampledRun] = []
    replicates: list[tuple[int, int]] = []
    inputs: dict[int, list[RunInputs]] = {}
    for year in design.years:
        inputs[year] = _read_year(files, options, year)
        peak = find_peak_week(site, inputs[year][0], load_scale=design.load_scale)
        for seed in range(design.seeds):
            replicates.append((year, seed))
            sample += sample_year(year, seed, weeks=design.weeks, peak_week=peak)
    runs: list[list[RunFigures]] = [[] for _ in options]
    count, done = len(sample) * len(options), 0
    for one in sample:
        for number, option in enumerate(options):
            task = _Task(
                site=option.site, inputs=inputs[one.year][number], sampled=one, design=design
            )
            at = partial(on_progress, done, count)
            runs[number].append(task.figures(folder, at))
            done += 1
            on_progress(done, count, 0, 0)
    return SizingResults(
        site=site.name,
        policy=design.policy,
        load_scale=design.load_scale,
        options=tuple(options),
        replicates=tuple(replicates),
        years=tuple(tuple(_years(site, sample, many, replicates)) for many in runs),
        sample=tuple(sample),
        runs=tuple(tuple(many) for many in runs),
        economics=None,
        gaps=_texts(inputs, "gaps"),
        notes=_texts(inputs, "notes"),
    )


def _texts(inputs: Mapping[int, Sequence[RunInputs]], what: str) -> tuple[str, ...]:
    every = (one for many in inputs.values() for one in many)
    return tuple(dict.fromkeys(text for one in every for text in getattr(one, what)))


def _years(
    site: Site,
    sample: Sequence[SampledRun],
    runs: Sequence[RunFigures],
    replicates: Sequence[tuple[int, int]],
) -> Iterator[YearFigures]:
    """Yield the year of an option in each replicate."""
    has_yearly_peak = site.billing_rules.peak_period == "year"
    for replicate in replicates:
        own = [i for i, one in enumerate(sample) if (one.year, one.seed) == replicate]
        yield estimate_year(
            [sample[i] for i in own], [runs[i] for i in own], has_yearly_peak=has_yearly_peak
        )


def _read_year(files: SeriesFiles, options: Sequence[SizeOption], year: int) -> list[RunInputs]:
    """Return the series of a year for each option; they differ where renewables do."""
    found: list[RunInputs] = []
    for option in options:
        own = option.site.machines_of(Renewable)
        if found and own == options[0].site.machines_of(Renewable):
            found.append(found[0])
            continue
        days = WEEK_DAYS * WEEKS_PER_YEAR
        read = read_run_inputs(option.site, files, start=f"{year}-01-01", days=days)
        found.append(with_forecast_history(read))
    return found


@dataclass(frozen=True, kw_only=True)
class _Task:
    """One run of a study."""

    site: Site
    inputs: RunInputs
    sampled: SampledRun
    design: StudyDesign

    def figures(self, folder: Path | None, on_progress: Callable[[int, int], None]) -> RunFigures:
        """Return the figures of the run, from the folder if it has them."""
        start = self.sampled.start
        inputs = replace(self.inputs, start=start, end=start + self.sampled.days * DAY)
        path = folder and folder / f"{self._key(inputs)}.json"
        if path and path.exists():
            return validate_file_content(read_json_file(path), RunFigures, path)
        began = time.process_time()
        case = BacktestCase.of(self.site, inputs, load_scale=self.design.load_scale)
        run = run_backtest_policy(
            case,
            self.design.policy,
            seed=self.sampled.seed,
            on_progress=lambda _policy, _seed, *steps: on_progress(*steps),
        )
        found = RunFigures.of(self.site, run, cpu_s=time.process_time() - began)
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json_atomic(path, asdict(found))
        return found

    def _key(self, inputs: RunInputs) -> str:
        """Return the digest of all that decides the figures."""
        seed, scale = self.sampled.seed, self.design.load_scale
        identity = build_identity(self.site, inputs, load_scale=scale, seeds=1)
        content = (version("gigatwin"), self.design.policy, seed, sorted(identity.items()))
        return blake2b(repr(content).encode(), digest_size=DIGEST_BYTES).hexdigest()


def covered_years(files: SeriesFiles) -> tuple[int, ...]:
    """Return the years of which the file of prices covers 52 weeks from 1 January.

    Raises ProblemError if there is none.
    """
    instants = read_prices(files.prices, zone=files.zone)["instant"].to_numpy()
    first, last = instants[0], instants[-1]
    span = WEEK_DAYS * WEEKS_PER_YEAR * DAY
    years = range(int(str(first)[:4]), int(str(last)[:4]) + 1)
    begins = {year: np.datetime64(f"{year}-01-01", "us") for year in years}
    if found := tuple(y for y, begin in begins.items() if first <= begin <= last - span):
        return found
    raise ProblemError.single(
        "size",
        IssueCode.MISSING,
        files.prices.name,
        found=f"{str(first)[:10]} to {str(last)[:10]}",
        expected="prices of 52 weeks from 1 January, 00:00 UTC, of a year",
        remedy="give a file of whole years",
    )
