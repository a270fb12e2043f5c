"""Names that go out are those which the documents for partners take."""

import json
import re
from importlib.resources import files

import pytest

from twin.text import is_valid_name

FIT = ("rhine", "small_2", "Frankfurt-1", "a.b", "7", "n" * 32)
UNFIT = ("", ".", "..", "-x", "a b", "a/b", "a+b", "a#b", "münchen", "a\n", "n" * 33)


@pytest.mark.parametrize("name", FIT)
def test_a_fit_name_stands_in_every_document(name):
    assert is_valid_name(name)
    for kind in ("status", "schedule", "ack"):
        schema = json.loads((files("telemetry") / "schemas" / f"{kind}-1.schema.json").read_text())
        for word in ("site", "partner"):
            assert re.search(schema["properties"][word]["pattern"], name)


@pytest.mark.parametrize("name", UNFIT)
def test_what_somebody_refuses_is_unfit(name):
    assert not is_valid_name(name)
