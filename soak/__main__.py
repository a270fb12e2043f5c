"""`./dev soak NAME`: repeat random or destructive runs and count broken promises."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module

from optimizer.cli.output import write_json

KEYS = ("name", "count", "broken", "seeds_of_broken", "seconds")
"""Keys that every soak reports; it may report more."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """A word of one soak, handed to its `run` by name."""

    kind: Callable[[str], object] = str
    default: object = None
    help: str = ""


@dataclass(frozen=True, kw_only=True)
class Soak:
    """A soak: its module has `COUNT` and `run(count, *, seed, say, **options)`.

    `run` returns at least `count`, `broken`, `seeds_of_broken` and `seconds`.
    """

    module: str
    options: dict[str, Option] = field(default_factory=dict)


def _count(text: str) -> int:
    if (count := int(text)) < 1:
        message = f"{text} is less than 1"
        raise argparse.ArgumentTypeError(message)
    return count


_BROKER = Option(help="URL of a broker for the service, else one of our own")

SOAKS = {
    "altered": Soak(module="soak.altered"),
    "compaction": Soak(module="soak.compaction"),
    "flips": Soak(module="soak.flips"),
    "full": Soak(module="soak.full"),
    "fuzz": Soak(module="soak.fuzz"),
    "ingest": Soak(module="soak.ingest"),
    "kills": Soak(
        module="soak.all_kills",
        options={
            "broker": _BROKER,
            "hours": Option(kind=float, help="length of a simulated day; by default as the kills"),
        },
    ),
    "kills.service": Soak(
        module="soak.kills",
        options={
            "broker": _BROKER,
            "hours": Option(kind=float, default=24.0, help="length of a simulated day"),
        },
    ),
    "memory": Soak(module="soak.memory"),
    "replay": Soak(
        module="soak.replay",
        options={
            "ties": Option(kind=bool, default=False, help="follow other equal optima too"),
            "variants": Option(kind=_count, default=5, help="paths of the solver, with --ties"),
        },
    ),
    "service": Soak(module="soak.site_hours", options={"broker": _BROKER}),
}
"""Name of a soak -> where it is, and the words that it alone knows."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak that is asked for; the code is 1 if it broke a promise."""
    options = _parser().parse_args(arguments)
    soak = SOAKS[options.name]
    module = import_module(soak.module)
    screen = sys.stderr if options.json == "-" else sys.stdout
    figures = module.run(
        module.COUNT if options.count is None else options.count,
        seed=options.seed,
        say=lambda line: print(line, file=screen, flush=True),
        **{name: getattr(options, name) for name in soak.options},
    )
    row = {"name": options.name, **figures}
    screen.write("".join(f"{key:16} {row[key]}\n" for key in KEYS))
    write_json(row, options.json)
    return 1 if row["broken"] else 0


def _parser() -> argparse.ArgumentParser:
    """Return what reads the words of the command: those of all soaks, and of each its own."""
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, soak in SOAKS.items():
        own = names.add_parser(name, help=f"see {soak.module}")
        own.add_argument("--count", type=_count, help="how much of it")
        own.add_argument("--seed", type=int, default=0, help="of all that is drawn")
        own.add_argument("--json", metavar="FILE", help="write the figures; - is standard output")
        for word, option in soak.options.items():
            how = {"action": "store_true"} if option.kind is bool else {"type": option.kind}
            own.add_argument(f"--{word}", default=option.default, help=option.help, **how)
    return parser


if __name__ == "__main__":
    sys.exit(main())
