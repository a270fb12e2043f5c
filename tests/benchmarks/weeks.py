"""Back-tests of one week of each month of a year, and the table of them for docs/results.md.

A whole year takes hours; a week of each month tells what a year would. Run it as

    ./dev python -m tests.benchmarks.weeks SITE YEAR TABLE.md --prices F --weather F --jobs F
"""

import argparse
from pathlib import Path
from typing import Final

import sites
from optimizer.cli.show import console
from optimizer.service.backtest import backtest
from optimizer.service.results import Results, Summary
from optimizer.service.setting import Setting
from optimizer.service.world import Files, read_world
from telemetry.durable import write_whole

FIRST: Final = 8
"""Day of the month on which its week begins: no week meets the end of a billing period."""

POLICIES: Final = ("threshold", "optimal", "perfect")

LOAD_SCALE: Final = 0.6
"""Mean share of the racks that jobs use, as in the back-test of a week. [1]"""

HEAD: Final = (
    "| week | threshold [EUR] | optimal [EUR] | perfect [EUR] | capture | cost of optimal [EUR] "
    "| carbon [t] | water [m3] | late [h] | peak [MW] | violations |"
)


def main() -> None:
    """Run the weeks and write their table, whole again after each of them."""
    told = _arguments()
    site = sites.load(told.site)
    files = Files(prices=told.prices, weather=told.weather, jobs=told.jobs, zone=site.zone)
    found: list[Results] = []
    screen = console(None)
    for month in range(told.every, 13, told.every):
        world = read_world(site, files, start=f"{told.year}-{month:02d}-{FIRST:02d}", days=7)
        setting = Setting.of(site, world, load_scale=LOAD_SCALE)
        found.append(backtest(setting, policies=POLICIES))
        write_whole(told.table, table(found))
        screen.print(f"{found[-1].start}: capture {found[-1].capture:.1%}")


def table(found: list[Results]) -> str:
    """Return the weeks as rows of Markdown, their sums last."""
    ruler = "|---" + "|---:" * (HEAD.count("|") - 2) + "|"
    rows = [_row(f"{one.start[:10]}", dict(one.policies)) for one in found]
    sums = {name: _sum([one.policies[name] for one in found]) for name in POLICIES}
    seconds = sum(one.cpu_s for one in found)
    last = (
        f"\n{seconds:,.0f} s of processor time for these {len(found)} weeks and three policies.\n"
    )
    return "\n".join([HEAD, ruler, *rows, _row("all", sums)]) + "\n" + last


def _sum(many: list[Summary]) -> Summary:
    """Return sums over weeks; of the peaks the greatest."""
    total = Summary.over(many)
    sums = {
        name: getattr(total, name) * len(many)
        for name in ("objective", "cost_eur", "carbon_kg", "water_m3", "lateness_h")
    }
    return Summary(**(vars(total) | sums | {"peak_mw": max(one.peak_mw for one in many)}))


def _row(week: str, policies: dict[str, Summary]) -> str:
    rule, ours, bound = (policies[name] for name in POLICIES)
    capture = (rule.objective - ours.objective) / (rule.objective - bound.objective)
    money = " | ".join(f"{one.objective:,.0f}" for one in (rule, ours, bound))
    rest = f"{ours.cost_eur:,.0f} | {ours.carbon_kg / 1e3:,.0f} | {ours.water_m3:,.0f}"
    end = f"{ours.lateness_h:.1f} | {ours.peak_mw:.1f} | {ours.violations:d}"
    return f"| {week} | {money} | {capture:.0%} | {rest} | {end} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev python -m tests.benchmarks.weeks")
    parser.add_argument("site")
    parser.add_argument("year", type=int)
    parser.add_argument("table", type=Path)
    parser.add_argument("--every", type=int, default=1, help="every so many months")
    for name in ("prices", "weather", "jobs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
