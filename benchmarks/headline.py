"""Write the table of results in the README from the stored back-tests of a year.

./dev python -m benchmarks.headline
"""

import json
from pathlib import Path
from typing import Final

from optimizer.cli.output import markdown_table
from telemetry.durable_files import write_atomic

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "docs" / "results" / "rhine-2023"
BEGIN: Final = "<!-- begin: ./dev python -m benchmarks.headline -->\n"
END: Final = "<!-- end -->\n"

ROWS: Final = {
    "immediate": "no shifting",
    "threshold": "a good rule",
    "threshold_capped": "the rule, which also caps power",
    "hedged": "gigatwin",
}
"""Policy of the stored runs -> its name in the table."""

HEADINGS: Final = ("rhine, 2023", "cost [M EUR]", "carbon [kt]", "late [h]", "violations [min]")


def headline() -> str:
    """Return the table: sums over the quarters of the year, as metered.

    Raises FileNotFoundError if a policy has no stored run.
    """
    rows = []
    for policy, name in ROWS.items():
        paths = sorted(RESULTS.glob(f"*-{policy}.json"))
        if not paths:
            raise FileNotFoundError(f"{RESULTS}: no run of {policy}; run benchmarks.year first")
        quarters = [json.loads(path.read_text())["policies"][policy] for path in paths]
        total = {key: sum(one[key] for one in quarters) for key in ("cost_eur", "carbon_kg")}
        late = sum(one["lateness_h"] for one in quarters)
        minutes = sum(one["violations"] for one in quarters)
        cost, carbon = total["cost_eur"] / 1e6, total["carbon_kg"] / 1e6
        rows.append([name, f"{cost:.1f}", f"{carbon:.0f}", f"{late:.0f}", f"{minutes:.0f}"])
    return markdown_table(HEADINGS, rows, numbers=HEADINGS[1:])


def with_headline(text: str) -> str:
    """Return a page with the table between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{headline()}\n{END}{after}"


if __name__ == "__main__":
    page = ROOT / "README.md"
    write_atomic(page, with_headline(page.read_text(encoding="utf-8")))
