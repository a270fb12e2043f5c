"""A question without sense is refused before anything is built, all faults at once."""

import numpy as np
import pytest

from optimizer.problem import Problem
from tests.math.hand import battery, outlook, problem, site, source, unlabelled
from twin import state
from twin.errors import ProblemError

JOBS = [("batch", [1.0, 2.0], [2.0, 2.0], 5.0)]


@pytest.fixture
def ahead():
    return outlook([10.0, 20.0], service=1.0, jobs=JOBS)


def faults(where, ahead, **settings):
    with pytest.raises(ProblemError) as caught:
        problem(where, ahead, **settings)
    return [str(fault) for fault in caught.value.faults]


def test_a_sound_problem_has_the_weights_of_its_site(ahead):
    assert problem(site(), ahead, carbon=0.1).weights == {
        "money": 1.0, "carbon": 0.1, "water": 0.0, "lateness": 100.0,
    }  # fmt: skip


def test_not_a_number_is_found_with_its_place(ahead):
    (fault,) = faults(site(), unlabelled(ahead, "electricity_price", [10.0, np.nan]))
    assert fault.startswith("outlook, electricity_price, 2026-07-01T01:00:00")
    assert "= nan: must be finite" in fault


def test_all_faults_are_told_at_once(ahead):
    ahead = unlabelled(ahead, "electricity_price", [np.inf, 1.0])
    ahead = unlabelled(ahead, "air_pressure", [np.nan, np.nan])
    told = faults(site(), ahead, money=-1.0, beauty=1.0)
    assert len(told) == 4
    assert "(and 1 more)" in told[-1]


def test_a_foreign_unit_is_refused(ahead):
    ahead["electricity_price"].attrs["units"] = "EUR kWh-1"
    (fault,) = faults(site(), ahead)
    assert "electricity_price" in fault
    assert "EUR MWh-1" in fault


def test_a_missing_variable_is_named(ahead):
    (fault,) = faults(site(), ahead.drop_vars("terminal_price"))
    assert fault == "terminal_price: the variable is missing"


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("electricity_price", [10.0, 20_000.0], "no market has more"),
        ("carbon_intensity", [-1.0, 0.0], "must not be negative"),
        ("service_racks", [0.0, 11.0], "between 0 and the site's 10 racks"),
        ("work_least", [[0.0], [3.0], [3.0]], "more than work_most allows"),
        ("work_most", [[0.0], [2.0], [1.0]], "must not fall"),
        ("work_racks_limit", [[0.5], [0.5]], "longer than their windows"),
        ("electricity_price", [10.0, 1e9], "is it in EUR/MWh?"),
        ("work_most", [[1.0], [2.0], [2.0]], "must be 0 at the first instant"),
    ],
)
def test_values_without_sense_are_refused(ahead, name, values, words):
    assert any(words in fault for fault in faults(site(), unlabelled(ahead, name, values)))


def test_an_empty_horizon_is_refused(ahead):
    empty = ahead.isel(time=slice(0, 0), instant=slice(0, 1))
    assert any("one interval at least" in fault for fault in faults(site(), empty))


def test_axes_that_do_not_fit_are_refused(ahead):
    short = ahead.isel(instant=slice(0, 2))
    assert any("end of the last" in fault for fault in faults(site(), short))
    wrong = ahead.assign_coords(duration=("time", [1.0, 2.0]))
    assert any("distance of the instants" in fault for fault in faults(site(), wrong))


def test_an_unknown_kind_of_work_is_refused(ahead):
    (fault,) = faults(site(), ahead.assign_coords(kind=("cohort", ["mining"])))
    assert fault == "outlook, kind = mining: the site knows the work batch"


def test_sun_without_a_forecast_is_refused(ahead):
    told = faults(site(source()), ahead)
    assert any("renewable_available_power" in fault for fault in told)
    assert any("sun" in fault for fault in told)


def test_a_level_far_outside_its_window_is_refused(ahead):
    (fault,) = faults(site(battery()), ahead, level=1.5)
    assert fault.startswith("state, battery_level, battery = 6 MWh: ")
    assert "0" in fault
    assert fault.endswith("4 MWh")


def test_the_state_of_another_site_is_refused(ahead):
    with pytest.raises(ProblemError, match="battery"):
        Problem(site(battery()), state.rest(site()), ahead)
