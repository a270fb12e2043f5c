"""One run of one way of a bench, in a process of its own.

`python -m benchmarks.once MODULE NAME WAY SCRATCH [DIR]`
"""

import json
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.bench import Place, peak_mb


def main(module: str, name: str, way: str, scratch: str, export: str | None = None) -> None:
    """Run it and print its result in the last line of the output."""
    (bench,) = (bench for bench in import_module(module).BENCHES if bench.name == name)
    place = Place(scratch=Path(scratch), export=Path(export) if export else None)
    measured = getattr(bench, way)(place)
    result = {
        "value": measured.value,
        "cost": measured.value if measured.cost is None else measured.cost,
        "peak_mb": peak_mb(),
        "figures": measured.figures,
    }
    sys.stdout.write("\n" + json.dumps(result) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
