"""Refused series: their issues with the codes, which the text of an error leaves out."""

import contextlib
import re

import pytest

from twin.errors import SeriesError


def with_codes(error):
    """Return the text of an error, each issue followed by its code in brackets."""
    head = str(error).split("\n", 1)[0]
    return "\n".join([head, *(f"  {issue} [{issue.code}]" for issue in error.issues)])


@contextlib.contextmanager
def refused(pattern):
    """Expect a SeriesError whose issues, with codes, match a pattern."""
    with pytest.raises(SeriesError) as caught:
        yield caught
    assert re.search(pattern, with_codes(caught.value))
