"""Everything that a user can call, set or receive is described on the documentation site."""

import re

import pytest

import sites
from docs.generators import alarms, api, commands, links, messages
from docs.generators.diagrams import FENCE, show_transitions
from optimizer.service.metrics import METRICS
from optimizer.service.status import AlarmCode

ROOT = links.ROOT
NAMES = dict(api.public_names())
COMMANDS = {one.name: one for one in commands.commands()}
RUNBOOK = (ROOT / "docs/reference/alarms.md").read_text(encoding="utf-8")


def test_every_public_name_has_a_docstring():
    assert len(NAMES) > 50
    assert [name for name, one in NAMES.items() if not api.summary(one)] == []


def test_every_command_and_parameter_is_described():
    assert len(COMMANDS) > 30
    wrong = [name for name, one in COMMANDS.items() if not one.summary]
    wrong += [
        f"{name} {parameter.name}"
        for name, one in COMMANDS.items()
        for parameter in one.parameters
        if not parameter.help
    ]
    assert wrong == []


@pytest.mark.parametrize("code", AlarmCode)
def test_every_alarm_has_a_section_in_the_runbook(code):
    """Proves: severity, times, consequence and remedy on the page are those of the code."""
    assert alarms.heading(code) in RUNBOOK
    section = RUNBOOK.partition(f"## `{code.value}`\n")[2].partition("\n## ")[0]
    for part in ("**When.** ", "**What the service does.** ", "**What to do.**\n\n1. "):
        assert part in section


def test_every_metric_is_described():
    assert len(METRICS) > 10
    assert [one.name for one in METRICS if not one.help_text] == []


def test_every_parameter_of_a_site_file_is_described():
    page = sites.reference_pages()["equipment.md"]
    rows = re.findall(r"^\| `(\w+)` \|(?:.*\|)? (.*) \|$", page, re.MULTILINE)
    assert len(rows) > 200
    assert [name for name, meaning in rows if not meaning.strip()] == []


def test_every_key_of_a_message_is_described():
    pages = messages.pages()
    assert len(pages) > 9
    rows = [
        (name, row)
        for name, text in pages.items()
        for row in re.findall(r"^\| `.*\|$", text, re.MULTILINE)
    ]
    assert [(name, row) for name, row in rows if row.endswith("|  |")] == []


def test_state_diagram_becomes_a_table_of_transitions():
    source = ["```mermaid\nstateDiagram-v2\n    [*] --> RUN\n    RUN --> HOLD: order\n```\n"]
    show_transitions(None, "page", source)
    assert not FENCE.search(source[0])
    assert "| `RUN` | `HOLD` | order |" in source[0]
    assert "| (start) | `RUN` |  |" in source[0]


def test_link_to_a_file_without_a_page_names_the_file():
    docs = ROOT / "docs"
    moved = links.move_links(
        "[a](../LICENSE) [b](../CHANGELOG.md) [c](none.md)", home=docs, target=docs
    )
    assert moved == "a (`LICENSE` of the repository) [b](development/changelog.md) [c](none.md)"
