"""`./dev golden`: compare behaviour with stored files, or with another commit bit for bit."""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.golden.collect import COLLECTORS, collect
from tests.golden.compare import Difference, compare, read_stored, write_stored

HERE = Path(__file__).parent

ROOT = HERE.parents[1]

SHOWN = 200
"""Differences that are printed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare or write; the exit status is 1 if anything differs."""
    given = _parser().parse_args(arguments)
    with standard_output_as_error(is_wanted=given.json == "-"):
        found, differences = _run(given)
    _write_json(differences, found, given.json)
    return 1 if differences else 0


def _run(given: argparse.Namespace) -> tuple[dict[str, Any], list[Difference]]:
    """Collect and compare; return what was collected and what differs."""
    names = given.only or list(COLLECTORS)

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    if given.against:
        say(f"collect from {given.against}")
        with worktree(given.against) as tree:
            expected = collect(tree, names, say=say)
        say("collect from the working tree")
        found = collect(ROOT, names, say=say)
        differences = compare(expected, found, "exact")
    else:
        found = collect(ROOT, names, say=say)
        if given.write:
            for name in names:
                path = write_stored(HERE, name, found[name])
                say(f"{path.name}: {path.stat().st_size} B written")
        expected = {name: read_stored(HERE, name) for name in names}
        differences = compare(expected, found, "stored")
    for difference in differences[:SHOWN]:
        say(str(difference))
    say(f"{len(differences)} differences in {', '.join(names)}")
    return found, differences


@contextlib.contextmanager
def standard_output_as_error(*, is_wanted: bool) -> Iterator[None]:
    """Send standard output to standard error; HiGHS prints its licence there by itself."""
    if not is_wanted:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


@contextlib.contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """Check a commit out into a temporary folder, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="golden-tree-") as folder:
        path = Path(folder) / "tree"
        _git("worktree", "add", "--detach", "--quiet", str(path), commit)
        try:
            yield path
        finally:
            _git("worktree", "remove", "--force", str(path))


def _git(*words: str) -> None:
    subprocess.run(["git", *words], cwd=ROOT, check=True)


def _write_json(differences: list[Difference], found: dict[str, Any], file: str | None) -> None:
    """Write the differences and what was collected; ``-`` is standard output."""
    if file is None:
        return
    rows = [vars(difference) for difference in differences]
    text = json.dumps({"differences": rows, "facts": found}, indent=1) + "\n"
    if file == "-":
        sys.stdout.write(text)
    else:
        Path(file).write_text(text, encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(prog="./dev golden", description=__doc__)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--write", action="store_true", help="write the stored files")
    how.add_argument("--against", metavar="COMMIT", help="compare with COMMIT, bit for bit")
    words = {"nargs": "+", "choices": list(COLLECTORS), "metavar": "NAME"}
    parser.add_argument("--only", help=f"of {', '.join(COLLECTORS)}", **words)
    parser.add_argument(
        "--json", metavar="FILE", help="differences and facts; - is standard output"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
