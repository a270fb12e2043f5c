"""Any content of a site file gives a site or located issues, never another error."""

import datetime as dt

import numpy as np
import pytest

from sites import catalogue
from sites.loading import build_site
from twin.errors import SiteError

JUNK = [
    "",
    "nonsense",
    "1e999 MW",
    "5 MW MW",
    "-1",
    0,
    -1,
    10**900,
    1e308,
    float("inf"),
    float("nan"),
    True,
    [],
    [[1.0]],
    ["a"],
    [1e300],
    {},
    {"standard": 3},
    {"kind": {"kind": 1}},
    {"a": {"b": {"c": 1}}},
    dt.date(2026, 1, 1),
    dt.time(1, 2),
]


def key_paths(table, path=()):
    """Yield the path of every key, tables before their keys."""
    for key, value in table.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from key_paths(value, (*path, key))


@pytest.fixture
def issues_of_junk():
    """Return the function that returns the issues of a table."""

    def issues(table):
        try:
            build_site(table, "junk", source="junk.toml")
        except SiteError as error:
            return error.issues
        return ()

    return issues


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: repr(junk)[:20])
def test_random_junk_is_refused_anywhere(issues_of_junk, junk):
    rng = np.random.default_rng(0)
    count = 0
    everywhere = list(key_paths(catalogue.read_toml(catalogue.find_site_file("small"))))
    for index in rng.choice(len(everywhere), 20, replace=False):
        *path, key = everywhere[index]
        table = catalogue.read_toml(catalogue.find_site_file("small"))
        inside = table
        for step in path:
            inside = inside[step]
        inside[key] = junk
        found = issues_of_junk(table)
        count += len(found)
        assert all(issue.location and issue.remedy for issue in found)
    assert count > 0
