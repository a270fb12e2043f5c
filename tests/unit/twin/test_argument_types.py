"""Arguments of a wrong type are refused by name."""

import numpy as np
import pytest

import twin
from tests.support import small_days
from twin.argument_checks import type_issues
from twin.errors import ProblemError, UnitError

NOW = np.datetime64("2026-06-16", "us")


def test_each_wrong_type_is_named_with_the_expected_type():
    long = [[0.0] * 30]
    issues = list(type_issues(step=("15", float), grid=(long, dict), name=("a", str)))
    assert [(one.code.value, one.location, one.found) for one in issues] == [
        ("wrong-type", "step", "'15'"),
        ("wrong-type", "grid", "list"),
    ]
    assert ["float" in issues[0].expected, "dict" in issues[1].expected] == [True, True]


@pytest.mark.parametrize("bad", [None, "rhine", 3])
@pytest.mark.parametrize(
    ("place", "call"),
    [
        ("site", lambda bad: twin.initial_state(bad)),
        ("now", lambda bad: twin.outlook(site(), ahead(), bad, axes=ahead())),
        ("record", lambda bad: twin.outlook(site(), bad, NOW, axes=ahead())),
        ("state", lambda bad: twin.simulate(site(), bad, ahead())),
        ("operation", lambda bad: twin.simulate(site(), small_days.problem().state, bad)),
        ("record", lambda bad: twin.count_violations(site(), bad)),
        ("site", lambda bad: twin.series_history(bad, ahead())),
        ("queue", lambda bad: twin.work_flexibility(bad, ahead())),
        ("past", lambda bad: twin.expected_arrivals(bad, {}, NOW)),
        ("start", lambda bad: twin.horizon_axes(bad, [(24, 15)])),
    ],
)
def test_public_functions_refuse_arguments_of_wrong_type(place, call, bad):
    """Proves: the fault names what was handed in; it had been an attribute that None lacks."""
    with pytest.raises(ProblemError) as caught:
        call(bad)
    (fault,) = caught.value.issues
    assert fault.location == place
    assert fault.found == repr(bad)


@pytest.mark.parametrize("bad", ["rhine", 3])
def test_series_of_wrong_type_are_refused(bad):
    with pytest.raises(ProblemError) as caught:
        twin.series_history(site(), bad)  # None is a series that files do not have
    assert [(one.location, one.found) for one in caught.value.issues] == [("series[0]", repr(bad))]


@pytest.mark.parametrize("bad", [None, 3])
def test_indicators_refuse_what_is_not_a_run(bad):
    with pytest.raises(UnitError, match=r"an xarray\.Dataset"):
        twin.indicators(bad)


def site():
    return small_days.problem().site


def ahead():
    return small_days.problem().outlook
