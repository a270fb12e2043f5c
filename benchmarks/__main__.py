"""`./dev bench NAME...`: how fast we are, beside the limit of the same work, in the same run."""

import argparse
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.measuring import measure
from optimizer.cli.output import console, table, write_json

GROUPS = {
    "clients": "benchmarks.clients",
    "daemon": "benchmarks.daemon",
    "feed": "benchmarks.feed",
    "ingest": "benchmarks.ingest",
    "reads": "benchmarks.reads",
    "solve": "benchmarks.solve",
    "twin": "benchmarks.twin",
}
"""Group -> the module with its `BENCHES`."""


def main() -> int:
    """Measure what is asked for, show it as a table, and write it for scripts."""
    options = _arguments()
    if options.export_mps:
        options.export_mps.mkdir(parents=True, exist_ok=True)
    screen = console(options.json)
    shown = table("./dev bench", "row", "ours", "limit", "unit", "ratio", "peak MB")
    rows = []
    for bench, module in chosen(options.names):
        screen.print(f"measuring {bench.name} ({bench.runs} runs)")
        row = measure(bench, module, export=options.export_mps)
        rows.append(row)
        write_json(
            rows, options.json if options.json != "-" else None
        )  # what a long run has, it keeps
        numbers = (row[key] for key in ("value", "limit_value"))
        ours, limit = ("" if n is None else f"{n:,.4g}" for n in numbers)
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        shown.add_row(bench.name, ours, limit, bench.unit, ratio, f"{row['peak_mb']:,.0f}")
    screen.print(shown)
    for row in rows:
        screen.print(f"{row['name']}: {row['note']}", markup=False)
    if options.json == "-":
        write_json(rows, options.json)
    return 0


def chosen(names: list[str]) -> list[tuple[Bench, str]]:
    """Return the benches of groups, or single ones by their full names, and their modules."""
    groups = GROUPS if "all" in names else dict.fromkeys(name.partition(".")[0] for name in names)
    found = [
        (bench, GROUPS[group]) for group in groups for bench in import_module(GROUPS[group]).BENCHES
    ]
    if "all" in names:
        return found
    unknown = set(names) - {bench.name for bench, _ in found} - GROUPS.keys()
    if unknown:
        known = ", ".join(bench.name for bench, _ in found)
        sys.exit(f"bench: there is no {', '.join(sorted(unknown))}; there are {known}")
    return [(b, m) for b, m in found if b.name in names or b.name.partition(".")[0] in names]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    known = f"{', '.join(GROUPS)}, a single row as twin.site_year, or all"
    parser.add_argument("names", nargs="+", metavar="NAME", help=known)
    parser.add_argument("--export-mps", type=Path, metavar="DIR", help="write models there")
    parser.add_argument("--json", metavar="FILE", help="write the rows there; - is standard output")
    options = parser.parse_args()
    for name in options.names:
        if name != "all" and name.partition(".")[0] not in GROUPS:
            parser.error(f"there is no {name}; choose from {known}")
    return options


if __name__ == "__main__":
    sys.exit(main())
