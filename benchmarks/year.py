"""Back-tests of a year, whole or in pieces of it, and the table for docs/results.md.

A stored file of a policy and piece is not run again. So a run of hours may be interrupted and
continued, and another policy may be compared with the stored ones. Each job trace needs a folder of
its own. Run it as

    ./dev python -m benchmarks.year SITE YEAR FOLDER --prices F --weather F --jobs F [--seeds 5]

With several plants (``--seeds``) the figures are means over them, violations are summed, and a line
below the table has the least and the greatest capture of a plant.
"""

import argparse
import calendar
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import sites
from optimizer.backtesting.case import BacktestCase
from optimizer.backtesting.results import CAPTURE_POLICIES, PolicySummary, paired_difference
from optimizer.backtesting.runner import backtest
from optimizer.cli.output import console
from optimizer.inputs.series_files import SeriesFiles, read_run_inputs
from optimizer.policies.policy import resolve_policy
from telemetry.durable_files import write_atomic, write_json_atomic

WEEK_FROM: Final = 8
"""Day of the month on which its week begins: no week meets the end of a billing period."""

RULE, PLANNER, BOUND = CAPTURE_POLICIES

LOAD_SCALE: Final = 0.6
"""Mean share of the racks that jobs use, as in the back-test of a week. [1]"""

type Piece = dict[str, PolicySummary]
"""Policy -> its numbers."""


def main() -> None:
    """Run the pieces and write their table, whole again after each of them."""
    options = _arguments()
    options.policy = resolve_policy(options.policy)
    policies = (options.rule, options.policy, BOUND)
    found: dict[str, Piece] = {}
    spread: dict[str, list[float]] = {}
    seconds = dict.fromkeys(policies, 0.0)
    screen = console(None)
    for first, days in _pieces(options.year, options.of, options.months):
        found[first] = {}
        plants: list[Piece] = [{} for _ in range(options.seeds)]
        for name in policies:
            kept = _kept(options, name, first, days)
            found[first][name] = PolicySummary(**kept["policies"][name])
            for plant, summary in zip(plants, kept["by_seed"][name], strict=True):
                plant[name] = PolicySummary(**summary)
            seconds[name] += kept["cpu_s"]
        spread[first] = [_capture(plant, policies) for plant in plants]
        name = options.policy if options.rule == RULE else f"{options.policy}-{options.rule}"
        text = table(found, policies, seconds=seconds)
        text += _plants(spread) if options.seeds > 1 else ""
        name += _suffix(options)
        write_atomic(options.folder / f"{name}.md", text)
        screen.print(f"{first}, {days} days: capture {_capture(found[first], policies):.1%}")


def _kept(options: argparse.Namespace, policy: str, first: str, days: int) -> dict[str, Any]:
    """Return the results of a policy over a piece, run only if they are not there."""
    path: Path = options.folder / f"{first}-{days}-{policy}{_suffix(options)}.json"
    if not path.exists():
        site = sites.load_site(options.site)
        files = SeriesFiles(
            prices=options.prices, weather=options.weather, jobs=options.jobs, zone=site.zone
        )
        world = read_run_inputs(site, files, start=first, days=days)
        setting = BacktestCase.of(site, world, load_scale=LOAD_SCALE)
        write_json_atomic(path, backtest(setting, policies=[policy], seeds=options.seeds).as_json())
    kept: dict[str, Any] = json.loads(path.read_text())
    if "captures" not in kept:
        message = f"{path} has earlier names of policies: name another folder"
        raise SystemExit(message)
    return kept


def _suffix(options: argparse.Namespace) -> str:
    """Return the end of the names of files of several plants."""
    return f"-{options.seeds}-plants" if options.seeds > 1 else ""


def _plants(spread: dict[str, list[float]]) -> str:
    """Return the least and the greatest capture of a plant in each piece, as text."""
    parts = [f"{first} {min(one):.0%} to {max(one):.0%}" for first, one in spread.items()]
    return f"\nCapture by plant: {', '.join(parts)}.\n"


def _pieces(year: int, of: str, months: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Yield first day and number of days of the pieces of a year.

    A quarter begins in every third month, the whole year in January. Without the last
    day of the year: a file of local time ends before it in UTC.
    """
    length = {"year": 12, "quarters": 3}.get(of, 1)
    for month in (one for one in months if (one - 1) % length == 0):
        many = range(month, month + length)
        whole = sum(calendar.monthrange(year, one)[1] for one in many) - (many[-1] == 12)
        first, days = (WEEK_FROM, 7) if of == "weeks" else (1, whole)
        yield f"{year}-{month:02d}-{first:02d}", days


def table(
    found: dict[str, Piece], policies: tuple[str, str, str], *, seconds: dict[str, float]
) -> str:
    """Return the pieces as rows of Markdown, their sums last, and the processor time."""
    rule, ours, bound = policies
    head = (
        f"| from | {rule} [EUR] | {ours} [EUR] | {bound} [EUR] | capture | cost of {ours} [EUR] "
        f"| carbon [t] | energy, equal work [MWh] | the same, {rule} [MWh] | water [m3] | late [h] "
        f"| late, {rule} [h] | peak [MW] | violations |"
    )
    ruler = "|---" + "|---:" * (head.count("|") - 2) + "|"
    rows = [_row(first, piece, policies) for first, piece in found.items()]
    sums = {name: _sum([piece[name] for piece in found.values()]) for name in policies}
    spent = ", ".join(f"{name} {value:,.0f} s" for name, value in seconds.items())
    lines = [head, ruler, *rows, _row("all", sums, policies), "", f"Processor time: {spent}."]
    if len(found) > 1:
        lines += ["", _interval(found, policies)]
    return "\n".join(lines) + "\n"


def _interval(found: dict[str, Piece], policies: tuple[str, str, str]) -> str:
    """Return the mean difference from the rule over the pieces, with its 95 % interval."""
    rule, ours, _ = policies
    objectives = {name: [piece[name].objective for piece in found.values()] for name in policies}
    one = paired_difference(objectives[ours], objectives[rule])
    limits = one.as_json()
    return (
        f"Objective of {ours} less that of {rule}, mean of {one.pair_count} periods: "
        f"{one.mean:+,.0f} EUR, 95 % interval {limits['low_eur']:+,.0f} to "
        f"{limits['high_eur']:+,.0f} EUR: {one.verdict}."
    )


def _sum(many: list[PolicySummary]) -> PolicySummary:
    """Return sums over pieces; of the peaks the greatest."""
    total = PolicySummary.averaged(many)
    sums = {
        name: getattr(total, name) * len(many)
        for name in (
            *("objective", "cost_eur", "carbon_kg", "energy_equal_work_mwh"),
            *("water_m3", "lateness_h"),
        )
    }
    return PolicySummary(**(vars(total) | sums | {"peak_mw": max(one.peak_mw for one in many)}))


def _row(name: str, piece: Piece, policies: tuple[str, str, str]) -> str:
    rule, ours = piece[policies[0]], piece[policies[1]]
    money = " | ".join(f"{piece[policy].objective:,.0f}" for policy in policies)
    energy = f"{ours.energy_equal_work_mwh:,.0f} | {rule.energy_equal_work_mwh:,.0f}"
    rest = f"{ours.cost_eur:,.0f} | {ours.carbon_kg / 1e3:,.0f} | {energy} | {ours.water_m3:,.0f}"
    late = f"{ours.lateness_h:.1f} | {rule.lateness_h:.1f}"
    end = f"{late} | {ours.peak_mw:.1f} | {ours.violations:d}"
    return f"| {name} | {money} | {_capture(piece, policies):.0%} | {rest} | {end} |"


def _capture(piece: Piece, policies: tuple[str, str, str]) -> float:
    """Return the share of what foresight saves over the rule that is saved."""
    rule, ours, bound = (piece[name].objective for name in policies)
    return (rule - ours) / (rule - bound)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev python -m benchmarks.year")
    parser.add_argument("site")
    parser.add_argument("year", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--of", choices=("weeks", "months", "quarters", "year"), default="months")
    parser.add_argument("--months", type=int, nargs="+", default=range(1, 13), metavar="MONTH")
    parser.add_argument(
        "--policy", default=PLANNER, help="planner that is compared with the two others"
    )
    parser.add_argument("--rule", default=RULE, help="rule over which they save")
    parser.add_argument("--seeds", type=int, default=1, help="plants of other hidden parameters")
    for name in ("prices", "weather", "jobs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
