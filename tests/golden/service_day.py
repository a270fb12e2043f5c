"""Two hours of the demonstration: what is on the wire, on the pages and in the state folder."""

import contextlib
import json
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.golden import wire
from tests.golden.archive_layout import archive_layout
from tests.golden.shapes import (
    Shape,
    joined,
    shape_of,
    uses_earlier_names,
    with_policy_names,
    without_digits,
    without_null,
)
from tests.golden.source_tree import START, TIME_LIMIT_S, CommandFailedError, SourceTree

SITE = "small"

HOURS = "2"

ECHO_VALUES = re.compile(r"/Value/.*/(plant|service)_heartbeat_echo$")
"""Topics of echoed heartbeats. Service and plant exchange heartbeats by the clock of the machine:
on a fast one the two hours end before an echo is due.
"""

POLL_S = 0.2
"""Time between two looks at the page and the result. [s]"""

_METRIC = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ", re.MULTILINE)
_CHECKSUM = re.compile("^[0-9a-f]{8} ")
_LABEL = re.compile(r'(\w+)="')


def collect_demo(tree: SourceTree) -> dict[str, Any]:
    """Return topics, metrics, the state page, files, archive layout and operator commands."""
    folder = tree.folder("demo")
    with wire.running_broker() as (url, port):
        subscriber = wire.Subscriber(port)
        with running_demo(tree, folder, url) as (result, pages, state):
            operator = operator_commands(tree, state)
            topics = without_echoes(subscriber.stop())
            listening = listening_commands(tree, url)
        replayed = replay_shape(tree, state, url)
    is_earlier = uses_earlier_names(result["policies"])
    facts = {
        "result": shape_of(with_policy_names(result, is_earlier=is_earlier)),
        "topics": topics,
        "state_page": pages["state"],
        "metrics": pages["metrics"],
        "operator": operator,
        "listening": listening | {"replay": replayed},
        "files": file_shapes(state),
        "archive": archive_layout(state / "archive" / "store"),
        "archive_commands": archive_commands(tree, state),
    }
    return {"unique": facts, "machine": {}}


def without_echoes(topics: dict[str, Shape]) -> dict[str, Shape]:
    """Return topics without those that appear on slow machines only."""
    return {topic: shape for topic, shape in topics.items() if not ECHO_VALUES.search(topic)}


@contextlib.contextmanager
def running_demo(
    tree: SourceTree, folder: Path, broker: str
) -> Iterator[tuple[dict[str, Any], dict[str, Any], Path]]:
    """Run the demonstration to the end of its hours; it still serves while the block runs.

    Yields its result, what its pages showed, and the state folder.
    """
    port, out = wire.free_port(), folder / "result.json"
    words = ["demo", "--site", SITE, "--hours", HOURS, "--broker", broker, "--page", str(port)]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            tree.arguments(*words, "--json", str(out)),
            cwd=folder,
            env=tree.environment,
            stdout=output,
            stderr=output,
        )
    try:
        pages = _watched_pages(process, out, port=port, log=log)
        yield json.loads(out.read_text(encoding="utf-8")), pages, folder / ".demo" / SITE / "state"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _watched_pages(
    process: subprocess.Popen[bytes], out: Path, *, port: int, log: Path
) -> dict[str, Any]:
    """Look at the pages until the result is there, and once more; join what was seen."""
    states: list[Shape] = []
    metrics: dict[str, list[str]] = {}
    deadline = time.monotonic() + TIME_LIMIT_S
    is_last = False
    while not is_last:
        if process.poll() is not None or time.monotonic() > deadline:
            message = f"demo: no result\n{log.read_text(errors='replace')[-2000:]}"
            raise CommandFailedError(message)
        is_last = out.exists()
        with contextlib.suppress(OSError):
            states = [joined([*states, state_shape(_page(port, "state.json"))])]
            metrics |= metric_labels(_page(port, "metrics"))
        time.sleep(POLL_S)
    return {"state": states[0], "metrics": {name: metrics[name] for name in sorted(metrics)}}


def _page(port: int, name: str) -> str:
    with urllib.request.urlopen(f"http://{wire.HOST}:{port}/{name}", timeout=60.0) as answer:
        return str(answer.read().decode("utf-8"))


def state_shape(text: str) -> Shape:
    """Return the shape of the state page, with numbers in its keys as ``#``."""
    return without_null(_alike(shape_of(json.loads(text))))


def metric_labels(text: str) -> dict[str, list[str]]:
    """Return the label names of each metric of a page in the Prometheus text format."""
    found: dict[str, set[str]] = {}
    for name, labels in _METRIC.findall(text):
        found.setdefault(name, set()).update(_LABEL.findall(labels))
    return {name: sorted(labels) for name, labels in found.items()}


def operator_commands(tree: SourceTree, state: Path) -> dict[str, Shape]:
    """Return the shape of what the operator's commands write while the service runs."""
    place = ["--state", str(state)]
    author = ["--author", "golden"]
    has_operators = (tree.root / "optimizer" / "service" / "operators.py").exists()
    if has_operators:  # since then only an operator may release a HOLD
        token = tree.command("operators", "add", "golden", *place)["token"]
        tree = replace(tree, variables={"GIGATWIN_OPERATOR_TOKEN": token})
    commands = {
        "status": ["status", SITE],
        "hold": ["hold", SITE, "--reason", "a test", "--hours", "1", *author],
        "status held": ["status", SITE],
        "release": ["release", SITE, *([] if has_operators else author)],
        "explain": ["explain", SITE],
    }
    found = {name: shape_of(tree.command(*words, *place)) for name, words in commands.items()}
    return {name: without_null(_alike(shape)) for name, shape in found.items()}


def listening_commands(tree: SourceTree, url: str) -> dict[str, Shape]:
    """Return the shape of what commands write that listen to the broker for a moment."""
    state = tree.folder("recorded")
    words = [SITE, "--broker", url, "--seconds", "2"]
    commands = {
        "discover": ["telemetry", "discover", *words],
        "record": ["telemetry", "record", *words, "--simulated", "--state", str(state)],
    }
    return {name: _top(tree.command(*words)) for name, words in commands.items()}


def replay_shape(tree: SourceTree, state: Path, url: str) -> Shape:
    """Return the shape of what a replay of a quarter-hour writes."""
    span = ["--from", f"{START}T00:15Z", "--to", f"{START}T00:20Z"]
    return _top(tree.command("replay", SITE, *span, "--broker", url, "--state", str(state)))


def _top(value: dict[str, Any]) -> Shape:
    """Return the first level of a result: what is below depends on what was heard meanwhile."""
    return {path: kinds for path, kinds in shape_of(value).items() if path.count(".") <= 1}


def archive_commands(tree: SourceTree, state: Path) -> dict[str, Shape]:
    """Return the shape of what the archive commands write when the service has ended."""
    place = ["--state", str(state)]
    backup, export = state.parent / "archive.tar", state.parent / "export.nc"
    commands = {
        "verify": ["verify", SITE],
        "export": ["export", SITE, str(export)],
        "compact": ["compact", SITE],
        "verify compacted": ["verify", SITE],
        "backup": ["backup", SITE, str(backup)],
        "restore": ["restore", SITE, str(backup)],
    }
    return {
        name: shape_of(tree.command("archive", *words, *place)) for name, words in commands.items()
    }


def file_shapes(state: Path) -> dict[str, Shape]:
    """Return the files of a state folder with the shape of those that hold JSON."""
    found: dict[str, Shape] = {}
    for path in sorted(state.rglob("*")):
        place = path.relative_to(state)
        if path.is_dir() or place.parts[:2] == ("archive", "store"):
            continue
        name = without_digits(str(place))
        found[name] = joined([found.get(name, {}), _alike(_file_shape(path))])
    return found


def _file_shape(path: Path) -> Shape:
    if path.suffix == ".jsonl":
        lines = path.read_text(encoding="utf-8").splitlines()
        return joined([_line_shape(line) for line in lines])
    if path.suffix == ".json":
        return without_null(shape_of(json.loads(path.read_text(encoding="utf-8"))))
    return {}


def _line_shape(line: str) -> Shape:
    """Return the shape of a line: JSON, perhaps behind a checksum."""
    content = _CHECKSUM.sub("", line)
    shape = without_null(shape_of(json.loads(content)))
    return shape if content == line else shape | {"checksum": ["string"]}


def _alike(shape: Shape) -> Shape:
    """Return a shape in which keys that differ in numbers only are one."""
    return joined([{without_digits(path): kinds} for path, kinds in shape.items()])
