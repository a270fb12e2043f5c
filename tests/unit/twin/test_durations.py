"""Formatting of time spans."""

import pytest

from twin.text import format_duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 s"),
        (99.4, "99 s"),
        (100.0, "2 min"),
        (1920.0, "32 min"),
        (5960.0, "99 min"),
        (7200.0, "2 h"),
        (47.4 * 3600.0, "47 h"),
        (47.6 * 3600.0, "2 days"),
        (235_762 * 60.0, "164 days"),
    ],
)
def test_time_span_is_formatted_in_its_unit(seconds, words):
    assert format_duration(seconds) == words
