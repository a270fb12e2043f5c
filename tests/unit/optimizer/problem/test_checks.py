"""An invalid problem is refused before a model is built, with all faults at once."""

import re
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from optimizer.planner.schedule import build_schedule
from optimizer.problem.problem import Problem
from tests.support import small_days
from tests.support.hand import (
    START,
    battery,
    machine,
    outlook,
    problem,
    site,
    solved,
    source,
    through,
    units,
    unlabelled,
)
from twin.errors import IssueCode, ProblemError
from twin.simulation import state
from twin.variables import tag_dataset

JOBS = [("batch", [1.0, 2.0], [2.0, 2.0], 5.0)]


@pytest.fixture
def ahead():
    return outlook([10.0, 20.0], service=1.0, jobs=JOBS)


def faults(where, ahead, **settings):
    with pytest.raises(ProblemError) as caught:
        problem(where, ahead, **settings)
    return list(caught.value.issues)


def test_valid_problem_has_the_weights_of_its_site(ahead):
    assert problem(site(), ahead, carbon=0.1).weights == {
        "money": 1.0, "carbon": 0.1, "water": 0.0, "lateness": 100.0, "waiting": 0.0,
    }  # fmt: skip


def test_nan_is_reported_with_its_location(ahead):
    (fault,) = faults(site(), unlabelled(ahead, "electricity_price", [10.0, np.nan]))
    assert fault.location == "outlook, electricity_price, 2026-07-01T01:00Z"
    assert fault.found == "nan EUR/MWh"


def test_all_faults_are_reported_together(ahead):
    ahead = unlabelled(ahead, "electricity_price", [np.inf, 1.0])
    ahead = unlabelled(ahead, "air_pressure", [np.nan, np.nan])
    issues = faults(site(), ahead, money=-1.0, beauty=1.0)
    assert len(issues) == 4
    assert "(and 1 more)" in issues[-1].found


def test_zero_weight_of_money_is_refused(ahead):
    """Proves: otherwise targets, ramps and reserves, which cost money, would not bind."""
    (fault,) = faults(site(), ahead, money=0.0)
    assert fault.location == "weights, money"
    assert fault.code is IssueCode.OUT_OF_RANGE


def test_unknown_unit_is_refused(ahead):
    ahead["electricity_price"].attrs["units"] = "EUR kWh-1"
    (fault,) = faults(site(), ahead)
    assert "electricity_price" in fault.location
    assert "EUR MWh-1" in str(fault)


def test_missing_variable_is_named(ahead):
    (fault,) = faults(site(), ahead.drop_vars("terminal_price"))
    assert fault.location == "terminal_price"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("electricity_price", [10.0, 20_000.0]),
        ("carbon_intensity", [-1.0, 0.0]),
        ("carbon_intensity", [0.0, 1e9]),
        ("air_temperature", [15.0, 288.0]),
        ("air_temperature", [-300.0, 15.0]),
        ("relative_humidity", [0.5, 50.0]),
        ("relative_humidity", [-0.5, 0.5]),
        ("air_pressure", [1013.0, 101.3]),
        ("air_pressure", [0.0, 101.3]),
        ("service_racks", [0.0, 11.0]),
        ("work_least", [[0.0], [3.0], [3.0]]),
        ("work_most", [[0.0], [2.0], [1.0]]),
        ("work_racks_limit", [[0.5], [0.5]]),
        ("work_racks_limit", [[-1.0], [5.0]]),
        ("electricity_price", [10.0, 1e9]),
        ("work_most", [[1.0], [2.0], [2.0]]),
        ("work_most", [[0.0], [2.0], [1e9]]),
    ],
)
def test_invalid_values_are_refused(ahead, name, values):
    issues = faults(site(), unlabelled(ahead, name, values))
    assert any(re.match(f"outlook, ({name}|work_least),", issue.location) for issue in issues)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("air_temperature", [-90.0, 60.0]),
        ("relative_humidity", [0.0, 1.1]),
        ("air_pressure", [50.0, 110.0]),
        ("carbon_intensity", [0.0, 3000.0]),
    ],
)
def test_extreme_but_valid_values_are_accepted(ahead, name, values):
    usual = problem(site(), unlabelled(ahead, name, values))
    assert usual.series(name).tolist() == values


def test_negative_sun_is_refused():
    ahead = outlook([10.0, 20.0], sun=[1.0, -5.0])
    (fault,) = faults(site(source()), ahead)
    assert fault.location == "outlook, renewable_available_power, 2026-07-01T01:00Z, sun"
    assert fault.found == "-5 MW"


def test_late_arrival_needs_racks_within_its_window():
    """Proves: 5 MWh that arrive at 2 h and are due at 3 h need 5 racks of 1 MW, not 2.

    Sensitivity: three hours on 2 racks could do 6, if it had been there from the beginning.
    """
    late = [("batch", [0.0, 0.0, 5.0], [0.0, 0.0, 5.0], 2.0)]
    (fault,) = faults(site(), outlook([20.0, 30.0, 40.0], jobs=late))
    assert fault.location == "outlook, work_least, 2026-07-01T03:00Z, batch/0"
    assert fault.found == "5 MWh"
    wide = [("batch", [0.0, 0.0, 5.0], [0.0, 0.0, 5.0], 5.0)]
    assert problem(site(), outlook([20.0, 30.0, 40.0], jobs=wide))


def test_feasible_work_is_accepted_at_a_site_too_small():
    """Proves: 15 racks of jobs due at once on 10 racks are late, not invalid."""
    jobs = [("batch", [15.0, 15.0], [15.0, 15.0], 15.0)]
    assert problem(site(), outlook([20.0, 30.0], jobs=jobs))


BANK = machine("bank", "air", draws={"medium_voltage": through}, units=units(3, most=1.0))


@pytest.mark.parametrize(
    ("past", "location", "found", "code"),
    [
        ({"bank": [np.nan]}, "past_units, bank, 0", "nan", IssueCode.OUT_OF_RANGE),
        ({"bank": [1.0, np.inf]}, "past_units, bank, 1", "inf", IssueCode.OUT_OF_RANGE),
        ({"bank": [0.0, 4.0]}, "past_units, bank, 1", "4", IssueCode.OUT_OF_RANGE),
        ({"bank": [-1.0]}, "past_units, bank, 0", "-1", IssueCode.OUT_OF_RANGE),
        ({"bank": [0.5]}, "past_units, bank, 0", "0.5", IssueCode.OUT_OF_RANGE),
        ({"bank": []}, "past_units, bank", "of shape (0,)", IssueCode.WRONG_AXES),
        ({"bank": [[1.0]]}, "past_units, bank", "of shape (1, 1)", IssueCode.WRONG_AXES),
        ({"bnak": [1.0]}, "past_units, bnak", "", IssueCode.UNKNOWN_NAME),
        ({"hall": [1.0]}, "past_units, hall", "", IssueCode.UNKNOWN_NAME),
    ],
)
def test_impossible_past_units_are_refused(ahead, past, location, found, code):
    known = {name: np.array(values) for name, values in past.items()}
    (fault,) = faults(site(BANK), ahead, past_units=known)
    assert (fault.location, fault.found, fault.code) == (location, found, code)


def test_possible_past_units_are_accepted(ahead):
    known = {"bank": np.array([0.0, 3.0])}
    assert problem(site(BANK), ahead, past_units=known).past_units is known


@pytest.mark.parametrize(
    ("name", "weight", "found"),
    [
        ("carbon", 1e9, "1e+09 EUR kg-1"),
        ("water", 1e9, "1e+09 EUR m-3"),
        ("lateness", 1e9, "1e+09 EUR MWh-1 h-1"),
        ("money", 1e9, "1e+09"),
        ("carbon", np.nan, "nan EUR kg-1"),
        ("carbon", -0.1, "-0.1 EUR kg-1"),
    ],
)
def test_excessive_weights_are_refused(ahead, name, weight, found):
    (fault,) = faults(site(), ahead, **{name: weight})
    assert (fault.location, fault.found) == (f"weights, {name}", found)
    assert fault.code is IssueCode.OUT_OF_RANGE


def test_empty_horizon_is_refused(ahead):
    empty = ahead.isel(time=slice(0, 0), instant=slice(0, 1))
    assert any(fault.location == "outlook, time" for fault in faults(site(), empty))


@pytest.mark.parametrize(
    ("name", "axes", "found"),
    [
        ("electricity_price", (), "on no axis"),
        ("electricity_price", ("instant",), "on instant"),
        ("air_temperature", ("time", "cohort"), "on time and cohort"),
        ("service_racks", ("strange",), "on strange"),
        ("terminal_price", ("time",), "on time"),
        ("work_least", ("cohort",), "on cohort"),
        ("work_racks_limit", ("time",), "on time"),
        ("work_rest", ("time", "cohort"), "on time and cohort"),
        ("grid_import_limit", (), "on no axis"),
    ],
)
def test_variable_on_wrong_axes_is_refused(ahead, name, axes, found):
    """Sensitivity: one price for all intervals was accepted, and others gave a traceback."""
    given = np.zeros([ahead.sizes.get(axis, 3) for axis in axes])
    issues = faults(site(), tag_dataset(ahead.assign({name: (axes, given)})))
    assert (f"outlook, {name}", found) in [(issue.location, issue.found) for issue in issues]


@pytest.mark.parametrize("kind", [str, object, complex])
def test_what_is_no_real_number_is_refused(ahead, kind):
    (fault,) = faults(
        site(), tag_dataset(ahead.assign(electricity_price=ahead["electricity_price"].astype(kind)))
    )
    assert fault.location == "outlook, electricity_price"


def test_a_source_named_twice_is_refused():
    twice = xr.concat([outlook([10.0, 20.0], sun=[1.0, 1.0])] * 2, "renewable", data_vars="minimal")
    (fault,) = faults(site(source()), twice)
    assert (fault.location, fault.found) == ("outlook, renewable", "sun")
    assert fault.code is IssueCode.DUPLICATE


def test_a_site_whose_work_cannot_move_has_a_plan(ahead):
    """Proves: an outlook without any cohort is one of service alone: 1 MW at 10 and at 20."""
    alone = solved(site(), ahead.isel(cohort=slice(0, 0)))
    assert alone.objective == pytest.approx(30.0)
    assert build_schedule(alone)["hall_power"].to_numpy().ravel() == pytest.approx([1.0, 1.0])


def test_axes_that_do_not_fit_are_refused(ahead):
    short = ahead.isel(instant=slice(0, 2))
    assert any(fault.location == "outlook, instant" for fault in faults(site(), short))
    wrong = ahead.assign_coords(duration=("time", [1.0, 2.0]))
    assert any(fault.code is IssueCode.TIME_ORDER for fault in faults(site(), wrong))


def test_an_unknown_kind_of_work_is_refused(ahead):
    (fault,) = faults(site(), ahead.assign_coords(kind=("cohort", ["mining"])))
    assert (fault.location, fault.found) == ("outlook, kind", "mining")
    assert fault.code is IssueCode.UNKNOWN_NAME


def test_sun_without_a_forecast_is_refused(ahead):
    locations = [fault.location for fault in faults(site(source()), ahead)]
    assert any("renewable_available_power" in location for location in locations)
    assert any("sun" in location for location in locations)


def test_a_level_far_outside_its_window_is_refused(ahead):
    (fault,) = faults(site(battery()), ahead, level=1.5)
    assert (fault.location, fault.found) == ("state, battery_level, battery", "6 MWh")


def test_state_of_another_time_is_refused(ahead):
    """Sensitivity: the twin refused every plan, and the remedy was to lower the service."""
    with pytest.raises(ProblemError, match=r"state, instant = 2026-06-30"):
        Problem(site(), state.initial_state(site(), "2026-06-30T23:00"), ahead)


def test_state_of_another_site_is_refused(ahead):
    with pytest.raises(ProblemError, match="battery"):
        Problem(site(battery()), state.initial_state(site(), START), ahead)


@pytest.mark.parametrize("word", ["wind_speed", "global_irradiance"])
def test_unused_weather_must_be_complete(ahead, word):
    given = tag_dataset(ahead.assign({word: ("time", [1.0, np.nan])}))
    (fault,) = faults(site(), given)
    assert fault.location == f"outlook, {word}, 2026-07-01T01:00Z"
    assert fault.found.startswith("nan ")


def test_duplicate_cohort_is_refused(ahead):
    """Its work would be done, and paid for, twice."""
    (fault,) = faults(site(), ahead.isel(cohort=[0, 0]))
    assert (fault.location, fault.found) == ("outlook, cohort", "batch/0")
    assert fault.code is IssueCode.DUPLICATE


def test_sun_in_kilowatts_is_refused():
    """Proves: 6,000 of a field of 6 MW is refused. Sensitivity: it was cut to 6 MW all day."""
    ahead = outlook([10.0, 20.0], sun=[50.0, 6000.0])
    (fault,) = faults(site(source(power=6.0)), ahead)
    assert fault.location == "outlook, renewable_available_power, 2026-07-01T01:00Z, sun"
    assert fault.found == "6000 MW"


@pytest.mark.parametrize("weight", ["0.1", None, 1j])
def test_weight_that_is_no_number_is_named(ahead, weight):
    (fault,) = faults(site(), ahead, carbon=weight)
    assert (fault.location, fault.found) == ("weights, carbon", repr(weight))
    assert fault.code is IssueCode.WRONG_TYPE


@pytest.mark.parametrize("output", [-1.0, 1e6])
def test_impossible_cooling_output_is_refused(output):
    problem = small_days.problem()
    damaged = problem.state.copy(deep=True)
    damaged["cooling_plant_output"].values[1] = output
    with pytest.raises(ProblemError, match=r"cooling_plant_output, chilled_plant"):
        replace(problem, state=damaged)


def test_state_and_outlook_of_another_site_are_refused():
    """Proves: they name their site and its place; a variant of the site may use them.

    Sensitivity: they were accepted where all machines had the same names.
    """
    problem = small_days.problem()
    for changes in ({"name": "other"}, {"latitude": 40.0}, {"zone": "ES"}):
        with pytest.raises(ProblemError) as caught:
            replace(problem, site=problem.site.model_copy(update=changes))
        assert [issue.location.partition(",")[0] for issue in caught.value.issues] == [
            "outlook",
            "state",
        ]
        assert {issue.code for issue in caught.value.issues} == {IssueCode.INCONSISTENT}
    larger = problem.site.with_parameters("tank_1", volume=480.0)
    assert replace(problem, site=larger).state.attrs["site"] == "small"
    unmarked = problem.outlook.copy()
    unmarked.attrs = {}
    assert replace(problem, outlook=unmarked).outlook.attrs == {}
