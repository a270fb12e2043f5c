"""Policies with partial foresight: only the known variables are the truth."""

import numpy as np
import pytest

from optimizer.backtesting.reserve_calls import build_plant
from optimizer.backtesting.runner import build_policy
from optimizer.policies.policy import FORESIGHT_POLICIES, FORESIGHT_VARIABLES, Observation
from optimizer.problem.planning_outlook import build_horizon
from tests.support import small_days
from twin.forecast.outlook import outlook
from twin.workload.cohorts import work_flexibility

WORDS = [word for words in FORESIGHT_VARIABLES.values() for word in words]


@pytest.fixture(scope="module")
def setting():
    return small_days.setting(1)


@pytest.fixture(scope="module")
def view(setting):
    return Observation(state=build_plant(setting, seed=0).observe(), queue=setting.queue())


@pytest.fixture(scope="module")
def grid(setting, view):
    return build_horizon(setting.site, setting.inputs.series, view.now)


@pytest.fixture(scope="module")
def truth(setting, view, grid):
    return outlook(
        setting.site, setting.inputs.series, view.now, axes=grid, has_perfect_foresight=True
    )


def first_outlook(setting, name, view):
    """Return the outlook of the first problem of a policy."""
    policy = build_policy(setting, name, lambda _: None)
    return policy._problem(view).outlook


@pytest.mark.parametrize("name", FORESIGHT_POLICIES)
def test_only_known_variables_are_true(setting, view, truth, name):
    blind, informed = (
        first_outlook(setting, "deterministic", view),
        first_outlook(setting, name, view),
    )
    known = FORESIGHT_VARIABLES[FORESIGHT_POLICIES[name]]
    for word in WORDS:
        expected = truth if word in known else blind
        np.testing.assert_array_equal(informed[word], expected[word], err_msg=word)
    assert informed.attrs == blind.attrs
    assert known or name == "deterministic+jobs"
    for word in known:
        assert not np.array_equal(blind[word], truth[word]), f"{word} was known anyway"


def test_future_jobs_are_known_one_by_one(setting, view, grid):
    informed = first_outlook(setting, "deterministic+jobs", view)
    room = work_flexibility(view.queue, grid, future=setting.workload.jobs)
    assert room.data_vars
    for word in room.data_vars:
        np.testing.assert_array_equal(informed[word], room[word], err_msg=word)
    assert not informed["work_most"].equals(
        first_outlook(setting, "deterministic", view)["work_most"]
    )
