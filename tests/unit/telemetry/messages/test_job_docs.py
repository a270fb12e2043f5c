"""The page of messages about jobs matches the code: schemas, tables, topics.

Run as a program it writes the schemas, and the tables of fields into the page.
"""

import json
import re
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator

from telemetry.messages import decode, jobs_and_caps, topics
from telemetry.messages.topics import TopicKind
from tests.support.pages import filled
from twin.errors import MessageError

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs" / "reference" / "job-messages.md"
SCHEMAS = ROOT / "telemetry" / "schemas"
NOW = 1_795_852_800_000
MESSAGES = {
    "job-queue": (TopicKind.JOB_QUEUE, jobs_and_caps.JobQueueRecord),
    "job-history": (TopicKind.JOB_HISTORY, jobs_and_caps.JobHistoryRecord),
    "job-announced": (TopicKind.JOB_ANNOUNCEMENTS, jobs_and_caps.JobAnnouncementsRecord),
    "job-orders": (TopicKind.JOB_ORDERS, jobs_and_caps.JobOrdersRecord),
    "job-status": (TopicKind.JOB_STATUS, jobs_and_caps.JobStatusRecord),
    "cap-order": (TopicKind.CAP_ORDER, jobs_and_caps.SignedHallCapRecord),
    "cap-status": (TopicKind.CAP_STATUS, jobs_and_caps.HallCapStatusRecord),
}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
SHARED = {"v", "site", "hall"}  # described once on the page


def schema(name):
    """Return the schema of a message, by its declaration."""
    kind, record = MESSAGES[name]
    made = msgspec.json.schema(record)["$defs"][record.__name__]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:gigatwin:{name.replace('-', ':')}:1",
        "title": f"Message on {topics.TOPIC_PATTERNS[kind]}, version 1",
    } | {word: made[word] for word in ("description", "type", "properties", "required")}


def text(name):
    return json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"


def path(name):
    return SCHEMAS / f"{name}-1.schema.json"


def bounds(field):
    """Return in short within what a number, or each of a column, must be."""
    inner = field.get("items") or field.get("additionalProperties") or field
    if inner.get("minimum") == 0 and inner.get("exclusiveMaximum") == 4_102_444_800_000:
        return "0, or 2000 to 2099"
    limits = [(sign, inner[word]) for word, sign in BOUNDS.items() if word in inner]
    if any(number in {946_684_800_000, 2**53} for _, number in limits):
        return {"integer": "2000 to 2099" if field.get("x-unit") == "ms" else "≤ 2^53"}[
            inner["type"]
        ]
    return ", ".join(f"{sign} {number:g}" for sign, number in limits)


def what(field):
    if field["type"] == "array":
        return f"list of {field['items']['type']}"
    return field["type"]


def table(name):
    """Return the fields of a message that not all of them have, a line each."""
    whole = schema(name)
    lines = ["| field | what | unit | bounds | meaning |", "|---|---|---|---|---|"]
    for field, rule in whole["properties"].items():
        if field not in SHARED:
            words = (f"`{field}`", what(rule), rule.get("x-unit", ""), bounds(rule))
            lines.append(f"| {' | '.join(words)} | {rule['description']} |")
    return "\n".join(lines)


def examples():
    """Return the messages that the page shows, by the kinds of their topics."""
    shown = re.findall(r"```json\n(\{.*?\})\n```", PAGE.read_text(), re.DOTALL)
    found = {}
    for one in map(json.loads, shown):
        fits = [name for name in MESSAGES if set(schema(name)["properties"]) == set(one)]
        found[fits[0]] = one
    return found


def topic(name):
    return topics.build_topic(MESSAGES[name][0], site="rhine", **hall(name))


def hall(name):
    return {"hall": "hall_1"} if name.startswith("cap") else {}


def is_read(name, document):
    try:
        decode(topic(name), json.dumps(document).encode())
    except MessageError:
        return False
    return True


OTHERS = ("1", 7, -2, 0, 0.5, 1.5, 2.0**53 + 2, 1e6, True, None, [], [1], {}, {"a": 1}, {"7": 2})
ENTRIES = ("training", 1, -1, 0, 0.5, 1e6, 2**53, 2**53 + 1, NOW, NOW * 3, True, None, [], {})


def spoilt(document):
    """Yield documents with one field left out or another in its place, each entry too."""
    for name, value in document.items():
        yield f"no {name}", {key: kept for key, kept in document.items() if key != name}
        for other in OTHERS:
            yield f"{name} = {other!r}", document | {name: other}
        if isinstance(value, list):
            for entry in ENTRIES:
                yield f"{name} of {entry!r}", document | {name: [entry] * len(value)}
        elif isinstance(value, dict):
            yield from (
                (f"{name} of {key!r}: {cap!r}", document | {name: {key: cap}})
                for key in ("7", "07", "-7", "x", "9" * 21, "")
                for cap in (1, 0.5, 0, 1.1, "1", True, None)
            )
    yield "more", document | {"later": 1}


ACROSS = re.compile(
    r"^(site|hall) = |= \[(1)?\]$"  # another name than the topic's; a column shorter than others
    r"|^number of |^arrival of |^announced of |^withdrawn of |^withdrawn = "
    r"|^done_h of |^length_h of |^issued = |^expires = "  # twice, too much
)
LAXER = re.compile(r" = \d+\.0$")  # to a schema these are integers too


@pytest.mark.parametrize("name", MESSAGES)
def test_the_schema_is_what_its_declaration_says(name):
    Draft202012Validator.check_schema(schema(name))
    assert path(name).read_text() == text(name), (
        "run `python -m tests.unit.telemetry.messages.test_job_docs`"
    )


@pytest.mark.parametrize("name", MESSAGES)
def test_fields_have_descriptions_and_units(name):
    properties = schema(name)["properties"]
    assert properties
    for field, rule in properties.items():
        assert rule["description"], field
        is_number = "number" in what(rule) or "integer" in what(rule) or rule["type"] == "object"
        assert field == "v" or is_number == ("x-unit" in rule), field


def test_the_page_shows_each_message_as_it_is_read():
    shown = examples()
    assert set(shown) == set(MESSAGES)
    for name, document in shown.items():
        Draft202012Validator(schema(name)).validate(document)
        decode(topic(name), json.dumps(document).encode())


@pytest.mark.parametrize("name", MESSAGES)
def test_schema_and_reader_take_and_refuse_the_same(name):
    """Proves: what a schema refuses we refuse, and what it takes too, but for rules across fields.

    Sensitivity: a bound that stands in one of them only.
    """
    document, valid = examples()[name], Draft202012Validator(schema(name)).is_valid
    cases = dict(spoilt(document))
    assert len(cases) > 100 or name == "job-status"
    laxer = {how for how, one in cases.items() if is_read(name, one) and not valid(one)}
    assert laxer == set()
    stricter = {how for how, one in cases.items() if valid(one) and not is_read(name, one)}
    assert {how for how in stricter if not (ACROSS.search(how) or LAXER.search(how))} == set()


def test_the_tables_are_those_of_the_declarations():
    page = PAGE.read_text()
    assert page.count("<!-- end -->") == len(MESSAGES)
    assert filled(page, table, MESSAGES) == page, (
        "run `python -m tests.unit.telemetry.messages.test_job_docs`"
    )


def test_the_page_names_all_topics():
    page = PAGE.read_text()
    wanted = [
        topics.TOPIC_PATTERNS[kind].replace("{", "").replace("}", "")
        for kind, _ in MESSAGES.values()
    ]
    wanted = [name.replace("site", "SITE").replace("hall/", "HALL/") for name in wanted]
    assert [name for name in wanted if name not in page] == []


if __name__ == "__main__":
    for message in MESSAGES:
        path(message).write_text(text(message))
    PAGE.write_text(filled(PAGE.read_text(), table, MESSAGES))
