"""Names in outgoing documents are accepted by their formats."""

import json
import re
from importlib.resources import files

import pytest

from twin.text import is_valid_name

FIT = ("rhine", "small_2", "Frankfurt-1", "a.b", "7", "n" * 32)
UNFIT = ("", ".", "..", "-x", "a b", "a/b", "a+b", "a#b", "münchen", "a\n", "n" * 33)


@pytest.mark.parametrize("name", FIT)
def test_valid_name_is_accepted_everywhere(name):
    assert is_valid_name(name)
    for kind in ("status", "schedule", "ack"):
        schema = json.loads((files("telemetry") / "schemas" / f"{kind}-1.schema.json").read_text())
        for word in ("site", "partner"):
            assert re.search(schema["properties"][word]["pattern"], name)


@pytest.mark.parametrize("name", UNFIT)
def test_names_that_any_document_refuses_are_invalid(name):
    assert not is_valid_name(name)
