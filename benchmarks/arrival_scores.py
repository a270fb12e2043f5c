"""Scores of the scenarios of arrivals, out of sample, and their page.

At each origin only earlier arrivals are used. Run it as

    ./dev python -m benchmarks.arrival_scores PAGE NAME=FILE [NAME=FILE ...]
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

import sites
from optimizer.stochastic.scenarios import DEFAULT_SCENARIO_COUNT, reduce_scenarios
from telemetry.durable_files import write_atomic
from telemetry.series import read_jobs
from twin.physics import FloatArray
from twin.site_settings import WorkKind
from twin.time_axes import DAY, HOUR, to_utc
from twin.workload.arrival_scenarios import SCORED_SPANS_H, arrival_ensemble, crps
from twin.workload.jobs import ARRIVAL_HISTORY, RECENT_HISTORY, Jobs, workload_from_jobs

YEAR: Final = 2023
"""Year in which the traces are placed."""

SITE: Final = "rhine"
"""Site whose kinds of work and racks the jobs get; scores are relative, so racks cancel."""

LOAD_SCALE: Final = 0.6
"""Mean share of the racks that jobs use. [1]"""

ORIGIN_STEP: Final = np.timedelta64(6, "h")
"""Time between two origins."""

QUANTILES: Final = (0.1, 0.5, 0.9, 0.95)
"""Probabilities whose coverage is reported. [1]"""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of one trace at all origins.

    - ``mean_work``: Mean work that arrived, by span. [h]
    - ``climatology``, ``windows``, ``selected``: Mean CRPS of all earlier days at the same time of
      day, of all windows, and of the scenarios of a decision, by span. [h]
    - ``rank``: Probability of less work than came, ``(origin, span)``. [1]
    - ``bias``: Mean of the scenarios less what came, as a share, by span. [1]
    - ``loss``: Mean loss of the reduction. [1]
    - ``above_burst``: Share of origins at which more came within the longest span than in the burst
      scenario. [1]
    """

    mean_work: FloatArray
    climatology: FloatArray
    windows: FloatArray
    selected: FloatArray
    rank: FloatArray
    bias: FloatArray
    loss: float
    above_burst: float


def main() -> None:
    """Score the traces and write the page."""
    parser = argparse.ArgumentParser(prog="./dev python -m benchmarks.arrival_scores")
    parser.add_argument("page", type=Path)
    parser.add_argument("traces", nargs="+", metavar="NAME=FILE")
    options = parser.parse_args()
    rows, short = [], []
    for name, _, path in (one.partition("=") for one in options.traces):
        jobs, kinds = read_trace(Path(path))
        rows += list(_rows(name, score(jobs, kinds)))
        short += list(_rows(name, score(jobs, kinds, history=RECENT_HISTORY)))
    write_atomic(options.page, page(rows, short))


def read_trace(path: Path) -> tuple[Jobs, tuple[WorkKind, ...]]:
    """Return the jobs of a year, as a site gets them, and its kinds of work."""
    site = sites.load_site(SITE)
    begin = to_utc(f"{YEAR}-01-01")
    work = workload_from_jobs(
        read_jobs(path, year=YEAR),
        site,
        start=begin + ARRIVAL_HISTORY,
        end=begin + 365 * DAY,
        load_scale=LOAD_SCALE,
        is_closed=False,
    )
    return work.arrival_history, tuple(site.work.values())


def score(
    jobs: Jobs,
    kinds: tuple[WorkKind, ...],
    *,
    history: np.timedelta64 = ARRIVAL_HISTORY,
    step: np.timedelta64 = ORIGIN_STEP,
) -> Scores:
    """Return the scores of forecasts, each from a history of some length, a step apart."""
    total = np.concatenate([[0.0], np.cumsum(jobs.racks * jobs.length)])
    spans = np.array(SCORED_SPANS_H)
    ends = np.round(spans * 3600.0).astype("timedelta64[s]")
    begin = to_utc(f"{YEAR}-01-01")
    last = begin + 365 * DAY - ends[-1]
    origins = np.arange(begin + ARRIVAL_HISTORY, last, step)

    def arriving(moments: np.ndarray) -> FloatArray:
        reached = np.searchsorted(jobs.arrival, moments[:, None] + ends, side="right")
        before = np.searchsorted(jobs.arrival, moments, side="right")
        return np.asarray(total[reached] - total[before][:, None])

    truth = arriving(origins)
    found: list[tuple[FloatArray, ...]] = []
    for now, came in zip(origins, truth, strict=True):
        days = np.arange((now - ends[-1] - begin) // DAY) + 1
        earlier = arriving(now - ends[-1] - days * DAY + DAY)
        ensemble = arrival_ensemble(jobs.arriving_between(now - history, now), kinds, now)
        few = reduce_scenarios(
            np.zeros((len(ensemble), 1)),
            ensemble.work,
            ensemble.probability,
            count=DEFAULT_SCENARIO_COUNT,
        )
        selected = ensemble.work[few.places] * few.work_factor[:, None]
        even = np.full(len(earlier), 1.0 / len(earlier))
        at_most = [ensemble.work < came, ensemble.work <= came]
        found.append(
            (
                _crps(earlier, even, came),
                _crps(ensemble.work, ensemble.probability, came),
                _crps(selected, few.probability, came),
                0.5 * sum(ensemble.probability @ one for one in at_most),
                few.probability @ selected - came,
                np.array([few.loss, came[-1] > selected[-1, -1]]),
            )
        )
    climatology, windows, selected, rank, bias, rest = (
        np.array(p) for p in zip(*found, strict=True)
    )
    mean = truth.mean(axis=0)
    return Scores(
        mean_work=mean,
        climatology=climatology.mean(axis=0),
        windows=windows.mean(axis=0),
        selected=selected.mean(axis=0),
        rank=rank,
        bias=bias.mean(axis=0) / mean,
        loss=float(rest[:, 0].mean()),
        above_burst=float(rest[:, 1].mean()),
    )


def _crps(values: FloatArray, probability: FloatArray, truth: FloatArray) -> FloatArray:
    """Return the score of each span."""
    return np.array(
        [
            float(crps(column, probability[None], truth[k : k + 1])[0])
            for k, column in enumerate(values.T)
        ]
    )


def _rows(name: str, found: Scores) -> Iterator[str]:
    """Yield a row of Markdown for each span."""
    for k, span in enumerate(SCORED_SPANS_H):
        below = [float((found.rank[:, k] <= share).mean()) for share in QUANTILES]
        skill = [1.0 - one[k] / found.climatology[k] for one in (found.windows, found.selected)]
        cells = [
            f"{name} | {span:g} | {found.climatology[k] / found.mean_work[k]:.3f}",
            *(f"{one:+.3f}" for one in skill),
            *(f"{100.0 * one:.0f}" for one in below),
            f"{found.bias[k]:+.3f}",
            f"{found.loss:.2f} | {100.0 * found.above_burst:.0f}",
        ]
        yield f"| {' | '.join(cells)} |"


def page(rows: list[str], short: list[str]) -> str:
    """Return the page with the rows of full and of short histories."""
    head = (
        "| trace | within [h] | CRPS of climatology, share of mean work | skill of all windows "
        f"| skill of {DEFAULT_SCENARIO_COUNT} scenarios "
        f"| {' | '.join(f'below {100 * one:g} % [%]' for one in QUANTILES)} "
        "| bias | loss | above burst [%] |"
    )
    ruler = "|---" + "|---:" * (head.count("|") - 2) + "|"
    return PAGE.format(
        step=ORIGIN_STEP / HOUR,
        days=ARRIVAL_HISTORY // DAY,
        weeks=ARRIVAL_HISTORY // (7 * DAY),
        recent=RECENT_HISTORY // DAY,
        rows="\n".join([head, ruler, *rows]),
        short="\n".join([head, ruler, *short]),
    )


PAGE: Final = """# Scores of the scenarios of arrivals

Written by `./dev python -m benchmarks.arrival_scores`; do not edit. Each year has an origin every
{step:g} h, from day {days} on. At each only earlier arrivals are used. What is scored is the work
(racks times hours) of the jobs that arrive within 6, 24 and 72 h. `pai-100k` is a measured trace;
the others are [generated](../reference/series-files.md#jobs), and nothing was tuned on `campaigns`.

- *Climatology* is every earlier day of the year at the same time of day, all equally likely.
- *Skill* is 1 less the ratio of CRPS to that of climatology: above 0 is better. A few scenarios
  cannot score as well as all windows.
- *Below p %* is the share of origins at which less came than the quantile p of all windows;
  calibrated windows give p.
- *Bias* is the mean of the scenarios less what came, as a share of it.
- *Loss* is that of the reduction, by work alone.
- *Above burst* is the share of origins at which more came within 72 h than in the burst scenario,
  the mean of the 15 % with most work.

## {weeks} weeks of history

{rows}

## {recent} days of history

A site that has just begun: windows are fewer and are widened more.

{short}
"""
"""Text of the page."""


if __name__ == "__main__":
    main()
