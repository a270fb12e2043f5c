"""`./dev soak NAME`: break what may break, again and again, and count the promises broken."""

import argparse
import json
import sys
from pathlib import Path

from tests.soak import kills

SOAKS = {"kills": kills}
"""Name of a soak -> its module, with `COUNT`, `UNIT` and `run`."""


def main() -> int:
    """Run the soak that is asked for; the code is 1 if it broke a promise."""
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__)
    parser.add_argument("name", choices=SOAKS, help="what to soak")
    parser.add_argument("--count", type=int, help="how much of it")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--broker", metavar="URL", help="of a broker, else one of our own")
    parser.add_argument("--hours", type=float, default=24.0, help="length of a simulated day")
    told = parser.parse_args()
    soak = SOAKS[told.name]
    figures = soak.run(
        soak.COUNT if told.count is None else told.count,
        seed=told.seed,
        hours=told.hours,
        broker=told.broker,
        say=lambda line: print(line, flush=True),  # noqa: T201 - it speaks to people
    )
    text = json.dumps({"name": told.name, **figures}, indent=2)
    if told.json:
        told.json.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")
    return 1 if figures["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
