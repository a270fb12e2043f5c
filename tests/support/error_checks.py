"""Refused series: an error's text lists its issues, each with its code."""

import contextlib

import pytest

from twin.errors import SeriesError


@contextlib.contextmanager
def refused(pattern):
    """Expect a SeriesError whose text matches a pattern."""
    with pytest.raises(SeriesError, match=pattern) as caught:
        yield caught
