"""The pages for partners match the code: tables, topics, codes.

Run as a program it writes the tables of fields into the page.
"""

import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from telemetry.feed import signing
from telemetry.feed.signing import ES256
from telemetry.feed.subscriber import ACK_REASONS
from telemetry.messages import topics
from telemetry.messages.feed_documents import PUBLIC_TEXTS, document_schema
from telemetry.messages.topics import TopicKind
from tests.support.pages import filled

DOCS = Path(__file__).parents[4] / "docs"
PAGE = DOCS / "reference" / "feed-documents.md"
PAGES = (
    PAGE,
    DOCS / "reference" / "load-targets.md",
    *sorted((DOCS / "how-to" / "partners").glob("*.md")),
)
FLEX = {"loadtarget": TopicKind.LOAD_TARGET, "powerstate": TopicKind.POWER_STATE}
KINDS = {
    "schedule": TopicKind.SCHEDULE,
    "status": TopicKind.FEED_STATUS,
    "ack": TopicKind.ACKNOWLEDGEMENT,
    "notice": TopicKind.NOTICE,
    "actual": TopicKind.ACTUAL,
    "request": TopicKind.REQUEST,
}
CHANNELS = KINDS | FLEX | {"resent": TopicKind.RESENT}
RETAINED = ("schedule", "status")


def rows(declared, whole, path=""):
    """Yield a line for each field of a schema, inner ones after the one that holds them."""
    required = declared.get("required", [])
    for name, given in declared.get("properties", {}).items():
        field = whole["$defs"][given["$ref"].split("/")[-1]] | given if "$ref" in given else given
        place = f"{path}{name}"
        optional = "" if name in required else " (optional)"
        words = field["description"].replace("|", "\\|")
        unit = field.get("x-unit", "")
        yield f"| `{place}` | {kind_of(field)} | {unit} | {words}{optional} |"
        inner = field.get("items", field)
        ends = "[]." if "items" in field else "."
        yield from rows(inner, whole, f"{place}{ends}")


def kind_of(field):
    """Return in short what may stand in a field."""
    for word in ("const", "enum"):
        if word in field:
            values = [field[word]] if word == "const" else field[word]
            return ", ".join(f"`{value}`" for value in values)
    if "anyOf" in field:
        return "integer or null" if field.get("x-unit") == "ms" else "object or null"
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    return " or ".join(kinds)


def table(kind):
    whole = document_schema(kind)
    return "\n".join(
        ["| field | what | unit | meaning |", "|---|---|---|---|", *rows(whole, whole)]
    )


def reason_table(_):
    rows = [f"| `{code}` | {text} |" for code, text in PUBLIC_TEXTS.items()]
    return "\n".join(["| code | in words |", "|---|---|", *rows])


def written_page(text):
    return filled(filled(text, table, KINDS), reason_table, ["reasons"])


def test_the_tables_are_those_of_the_schemas():
    text = PAGE.read_text()
    assert text.count("<!-- end -->") == len(KINDS) + 1
    assert written_page(text) == text, "run `python -m tests.unit.telemetry.feed.test_feed_docs`"


@pytest.fixture(scope="module")
def api():
    return yaml.safe_load((DOCS / "feed-1.asyncapi.yaml").read_text())


def test_the_channels_are_our_topics(api):
    assert api["asyncapi"] == "3.0.0"
    addresses = {name: channel["address"] for name, channel in api["channels"].items()}
    assert addresses == {name: topics.TOPIC_PATTERNS[kind] for name, kind in CHANNELS.items()}
    for channel in api["channels"].values():
        assert set(channel["parameters"]) == set(re.findall(r"{(\w+)}", channel["address"]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_messages_have_our_schemas_and_headers(api, kind):
    message = api["components"]["messages"][kind]
    path = DOCS / message["payload"]["schema"]["$ref"]
    assert path.resolve().name == f"{kind}-1.schema.json"
    assert path.exists()
    header = message["headers"]["properties"]
    assert header["typ"]["const"] == signing.jws_type(kind)
    assert header["alg"]["const"] == ES256
    assert set(header) == set(message["headers"]["required"])


def resolve(api, reference):
    found = api
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def test_every_reference_leads_somewhere(api):
    def walk(node):
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "$ref" and value.startswith("#"):
                    assert resolve(api, value)
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(api)


@pytest.mark.parametrize("kind", FLEX)
def test_the_events_have_our_schemas(api, kind):
    path = DOCS / api["components"]["messages"][kind]["payload"]["schema"]["$ref"]
    assert path.resolve().name == f"{kind}-1.schema.json"
    assert path.exists()


def test_only_schedule_and_status_are_retained(api):
    for operation in api["operations"].values():
        binding = operation["bindings"]["mqtt"]
        assert binding["qos"] == 1
        assert binding["retain"] == (operation["channel"]["$ref"].split("/")[-1] in RETAINED)


def test_the_pages_name_all_topics_reasons_and_kinds():
    text = "".join(page.read_text() for page in PAGES)
    wanted = [topics.TOPIC_PATTERNS[kind] for kind in CHANNELS.values()]
    wanted += [f"`{code}`" for code in ACK_REASONS]
    wanted += [signing.jws_type(kind) for kind in KINDS]
    assert [words for words in wanted if words not in text] == []


def test_names_that_the_pages_import_exist():
    """Sensitivity: pages named `make_keys`, which had another name."""
    text = "".join(page.read_text() for page in DOCS.rglob("*.md"))
    found = re.findall(r"from ((?:telemetry|twin|optimizer)[\w.]*) import ([\w, ]+)", text)
    assert found
    for module, names in found:
        for name in names.split(","):
            assert hasattr(import_module(module), name.strip()), f"{module}.{name}"


if __name__ == "__main__":
    PAGE.write_text(written_page(PAGE.read_text()))
