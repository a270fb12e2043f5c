"""The bytes of a journal to which fixed messages were appended at a fixed time."""

import hashlib
import sys
from typing import Any

from tests.golden.source_tree import CommandFailedError, SourceTree

SCRIPT = """\
import importlib, sys
from pathlib import Path

HOMES = ("telemetry.journal.writer", "telemetry.journal")  # present module, earlier module

def journal_class():
    for name in HOMES:
        try:
            found = getattr(importlib.import_module(name), "Journal", None)
        except ModuleNotFoundError:
            continue
        if found is not None:
            return found
    raise SystemExit("no module of HOMES has a class Journal")

ticks = iter(range(1_781_568_000_000_000_000, 1_781_569_000_000_000_000, 7_000_000))
journal = journal_class()(Path(sys.argv[1]), segment_bytes=4096, clock=lambda: next(ticks))
for number in range(40):
    topics = ("gigatwin/v1/small/point", "gigatwin/v1/small/\\u00e9/rack")
    payloads = (b'{"value": %d}' % number, bytes(range(256)) * (number % 5))
    journal.append(list(zip(topics, payloads)))
    if number % 10 == 0:
        journal.append([])
journal.close()
"""
"""Appends pairs of topic and payload, small and large, over several segments."""


def collect_journal(tree: SourceTree) -> dict[str, Any]:
    """Return the digest of every file of a journal, by its name."""
    folder = tree.folder("journal") / "segments"
    done = tree.run(sys.executable, "-P", "-c", SCRIPT, str(folder))
    if done.returncode != 0:
        raise CommandFailedError(done.stderr[-2000:])
    files = {
        path.name: {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.iterdir())
    }
    return {"unique": files, "machine": {}}
