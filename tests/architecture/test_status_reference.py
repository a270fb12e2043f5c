"""The page of status and metrics is what their model declares, and no text is parsed for it.

Run as a program (``python -m tests.architecture.test_status_reference``) it writes the page.
"""

import ast
import re
import types
import typing
from enum import Enum

import msgspec
import pytest

from optimizer.service.hold import HOLD_TRANSITIONS
from optimizer.service.hold_controller import SITE_TRANSITIONS
from optimizer.service.load_target_receiver import RESERVE_TRANSITIONS
from optimizer.service.metrics import METRICS, SERVICE_INFO_METRIC
from optimizer.service.plant_link import PLANT_TRANSITIONS
from optimizer.service.status import LiveStatus, ServiceStatus
from telemetry.mqtt.client import CONNECTION_TRANSITIONS
from tests.architecture.conftest import ROOT

PAGE = ROOT / "docs" / "reference" / "status.md"
STATES_PAGE = ROOT / "docs" / "reference" / "service-states.md"
HEAD = """# Status and metrics

<!-- Written by `python -m tests.architecture.test_status_reference`; change the model only. -->

`state.json` of the page and `gigatwin status --json` hold these keys; an event of `/events` holds
those of `LiveStatus`. Times are ISO 8601 in UTC,
and null stands for what is not known. A key in *italics* may be absent.
"""
METRICS_HEAD = """## Metrics

`/metrics` holds these names, in base units (watts, joules, seconds), with the prefix `gigatwin_`. A
counter ends in `_total`, and counts since the start. What is not known has no sample.

| name | kind | labels | meaning |
|---|---|---|---|
"""


def plain(kind):
    """Return a type without its annotations and aliases, and the meaning of the annotations."""
    meaning = ""
    while True:
        if isinstance(kind, typing.TypeAliasType):
            kind = kind.__value__
        elif typing.get_origin(kind) is typing.Annotated:
            meaning = kind.__metadata__[0].description
            kind = kind.__origin__
        else:
            return kind, meaning


def shown(kind):
    """Return a type as the page shows it."""
    kind, _ = plain(kind)
    names = {str: "text", float: "number", int: "number", bool: "true or false", type(None): "null"}
    if kind in names:
        return names[kind]
    if kind is msgspec.UnsetType:
        return ""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return ", ".join(f"`{one}`" for one in parts)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(filter(None, map(shown, parts)))
    if origin is list:
        return f"list of {shown(parts[0])}"
    if origin is dict:
        return f"{{{shown(parts[0])}: {shown(parts[1])}}}"
    if issubclass(kind, Enum):
        return ", ".join(f"`{one.value}`" for one in kind)
    return f"[{kind.__name__}](#{kind.__name__.lower()})"


def structs(kind):
    """Yield the structs in a type, each once, in the order of the page."""
    kind, _ = plain(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
        for field in msgspec.structs.fields(kind):
            yield from structs(field.type)
    for part in typing.get_args(kind):
        yield from structs(part)


def page():
    """Return the page of the status and its metrics."""
    parts = [HEAD]
    for kind in dict.fromkeys([*structs(ServiceStatus), *structs(LiveStatus)]):
        text = " ".join(kind.__doc__.split())
        parts.append(f"## {kind.__name__}\n\n{text}\n\n| key | value | meaning |\n|---|---|---|\n")
        for field in msgspec.structs.fields(kind):
            is_absent = "" if field.required or not may_be_absent(kind, field) else "*"
            name = f"{is_absent}`{field.encode_name}`{is_absent}"
            parts[-1] += f"| {name} | {shown(field.type)} | {plain(field.type)[1]} |\n"
    name, text, labels = SERVICE_INFO_METRIC
    rows = [("ready", "gauge", "", "Whether nothing is missing.")]
    rows.append((name, "gauge", ", ".join(labels), text))
    for one in METRICS:
        kind, end = ("counter", "_total") if one.is_counter else ("gauge", "")
        rows.append((f"{one.name}{end}", kind, one.label, one.help_text))
    return (
        "\n".join(parts)
        + "\n"
        + METRICS_HEAD
        + "".join(f"| `{a}` | {b} | {c} | {d} |\n" for a, b, c, d in rows)
    )


def may_be_absent(kind, field):
    return kind.__struct_config__.omit_defaults or field.default is msgspec.UNSET


def test_page_is_what_the_model_declares():
    assert PAGE.read_text() == page(), "run python -m tests.architecture.test_status_reference"


@pytest.mark.parametrize("table", [CONNECTION_TRANSITIONS, PLANT_TRANSITIONS, RESERVE_TRANSITIONS])
def test_picture_of_states_shows_every_transition(table):
    """Proves: the page of states draws the table, and each state can be left or is the last."""
    text = STATES_PAGE.read_text()
    drawn = re.findall(r"^    (\w+) --> (\w+): (.*)$", text, re.M)
    declared = {(a.value, b.value, event.value) for (a, event), b in table.items()}
    assert declared <= set(drawn)
    kind = type(next(iter(table))[0])
    assert {one.value for one in kind} == {state for a, b, _ in declared for state in (a, b)}


@pytest.mark.parametrize("table", [HOLD_TRANSITIONS, SITE_TRANSITIONS])
def test_picture_of_hold_shows_every_transition(table):
    """Proves: docs/reference/service-states.md draws the table of transitions."""
    drawn = set(re.findall(r"^    (\w+) --> (\w+): (.*)$", STATES_PAGE.read_text(), re.M))
    declared = {(a.value, b.value, why) for a, row in table.items() for b, why in row.items()}
    assert declared <= drawn


TEXT_METHODS = {
    "partition",
    "rpartition",
    "split",
    "rsplit",
    "splitlines",
    "startswith",
    "endswith",
}
TEXT_METHODS |= {"removeprefix", "removesuffix"}
MODULES = ("optimizer.service.", "optimizer.cli.status", "optimizer.cli.explain")
FORMATS = {
    "optimizer.service.audit",  # lines of a file
    "optimizer.service.page",  # headers of HTTP
    "optimizer.service.plant_orders",  # names of racks
    "optimizer.service.watchdog",  # name of systemd's socket
}


def test_no_code_parses_a_sentence(modules):
    """Proves: status, alarms, metrics and commands take no value out of a text.

    Sensitivity: counters were keyed by the words before the colon of a reason.
    """
    checked = [one for one in modules.values() if one.name.startswith(MODULES)]
    assert len(checked) > 20
    wrong = [
        f"{module.place}:{node.lineno} {node.func.attr}"
        for module in checked
        if module.name not in FORMATS
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in TEXT_METHODS
    ]
    wrong += [
        f"{module.place} imports re"
        for module in checked
        if "re" in {target.partition(".")[0] for target in module.imports()}
    ]
    assert wrong == []


if __name__ == "__main__":
    PAGE.write_text(page())
