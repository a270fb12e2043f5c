"""A question without sense is refused before anything is built, all faults at once."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from optimizer.planner.schedule import build_schedule
from optimizer.problem.problem import Problem
from tests import small_days
from tests.math.hand import (
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
from twin.errors import ProblemError
from twin.simulation import state
from twin.variables import tag_dataset

JOBS = [("batch", [1.0, 2.0], [2.0, 2.0], 5.0)]


@pytest.fixture
def ahead():
    return outlook([10.0, 20.0], service=1.0, jobs=JOBS)


def faults(where, ahead, **settings):
    with pytest.raises(ProblemError) as caught:
        problem(where, ahead, **settings)
    return [str(fault) for fault in caught.value.issues]


def test_a_sound_problem_has_the_weights_of_its_site(ahead):
    assert problem(site(), ahead, carbon=0.1).weights == {
        "money": 1.0, "carbon": 0.1, "water": 0.0, "lateness": 100.0,
    }  # fmt: skip


def test_not_a_number_is_found_with_its_place(ahead):
    (fault,) = faults(site(), unlabelled(ahead, "electricity_price", [10.0, np.nan]))
    assert fault == "outlook, electricity_price, 2026-07-01T01:00Z = nan EUR/MWh: must be finite"


def test_all_faults_are_told_at_once(ahead):
    ahead = unlabelled(ahead, "electricity_price", [np.inf, 1.0])
    ahead = unlabelled(ahead, "air_pressure", [np.nan, np.nan])
    told = faults(site(), ahead, money=-1.0, beauty=1.0)
    assert len(told) == 4
    assert "(and 1 more)" in told[-1]


def test_money_weighs_something(ahead):
    """Proves: else targets, ramps and reserves, which cost money, would bind nothing."""
    (fault,) = faults(site(), ahead, money=0.0)
    assert fault.startswith("weights, money = 0: must be above 0")


def test_a_foreign_unit_is_refused(ahead):
    ahead["electricity_price"].attrs["units"] = "EUR kWh-1"
    (fault,) = faults(site(), ahead)
    assert "electricity_price" in fault
    assert "EUR MWh-1" in fault


def test_a_missing_variable_is_named(ahead):
    (fault,) = faults(site(), ahead.drop_vars("terminal_price"))
    assert fault == "terminal_price: a variable in EUR MWh-1; add the variable [missing]"


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("electricity_price", [10.0, 20_000.0], "no market has more"),
        ("carbon_intensity", [-1.0, 0.0], "must be from 0 to 3000 kg MWh-1"),
        ("carbon_intensity", [0.0, 1e9], "is it in kg MWh-1?"),
        ("air_temperature", [15.0, 288.0], "must be from -90 to 60 degC; is it in degC?"),
        ("air_temperature", [-300.0, 15.0], "must be from -90 to 60 degC"),
        ("relative_humidity", [0.5, 50.0], "must be from 0 to 1.1; is it a share?"),
        ("relative_humidity", [-0.5, 0.5], "must be from 0 to 1.1"),
        ("air_pressure", [1013.0, 101.3], "must be from 50 to 110 kPa"),
        ("air_pressure", [0.0, 101.3], "must be from 50 to 110 kPa"),
        ("service_racks", [0.0, 11.0], "between 0 and the site's 10 racks"),
        ("work_least", [[0.0], [3.0], [3.0]], "more than work_most allows"),
        ("work_most", [[0.0], [2.0], [1.0]], "must not fall"),
        ("work_racks_limit", [[0.5], [0.5]], "longer than their windows"),
        ("work_racks_limit", [[-1.0], [5.0]], "must not be negative"),
        ("electricity_price", [10.0, 1e9], "is it in EUR/MWh?"),
        ("work_most", [[1.0], [2.0], [2.0]], "must be 0 at the first instant"),
        ("work_most", [[0.0], [2.0], [1e9]], "do 8.77e+05 MWh in ten years; is it in MWh?"),
    ],
)
def test_values_without_sense_are_refused(ahead, name, values, words):
    assert any(words in fault for fault in faults(site(), unlabelled(ahead, name, values)))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("air_temperature", [-90.0, 60.0]),
        ("relative_humidity", [0.0, 1.1]),
        ("air_pressure", [50.0, 110.0]),
        ("carbon_intensity", [0.0, 3000.0]),
    ],
)
def test_what_can_just_be_is_taken(ahead, name, values):
    asked = problem(site(), unlabelled(ahead, name, values))
    assert asked.series(name).tolist() == values


def test_sun_below_nothing_is_refused():
    ahead = outlook([10.0, 20.0], sun=[1.0, -5.0])
    (fault,) = faults(site(source()), ahead)
    assert fault.endswith("sun = -5 MW: must not be negative")
    assert fault.startswith("outlook, renewable_available_power, 2026-07-01T01:00Z")


def test_a_job_that_arrives_late_has_only_the_racks_of_its_window():
    """Proves: 5 MWh that arrive at 2 h and are due at 3 h need 5 racks of 1 MW, not 2.

    Sensitivity: three hours on 2 racks could do 6, if it had been there from the beginning.
    """
    late = [("batch", [0.0, 0.0, 5.0], [0.0, 0.0, 5.0], 2.0)]
    (fault,) = faults(site(), outlook([20.0, 30.0, 40.0], jobs=late))
    assert fault.startswith("outlook, work_least, 2026-07-01T03:00Z")
    assert "batch/0 = 5 MWh: is more than its racks can do by then" in fault
    wide = [("batch", [0.0, 0.0, 5.0], [0.0, 0.0, 5.0], 5.0)]
    assert problem(site(), outlook([20.0, 30.0, 40.0], jobs=wide))


def test_work_that_its_racks_could_do_is_taken_though_the_site_is_too_small():
    """Proves: 15 racks of jobs that are due at once on 10 racks are late, not senseless."""
    jobs = [("batch", [15.0, 15.0], [15.0, 15.0], 15.0)]
    assert problem(site(), outlook([20.0, 30.0], jobs=jobs))


BANK = machine("bank", "air", draws={"medium_voltage": through}, units=units(3, most=1.0))


@pytest.mark.parametrize(
    ("past", "words"),
    [
        ({"bank": [np.nan]}, "past_units, bank, 0 = nan: must be whole numbers from 0 to"),
        ({"bank": [1.0, np.inf]}, "past_units, bank, 1 = inf: must be whole numbers"),
        ({"bank": [0.0, 4.0]}, "past_units, bank, 1 = 4: must be whole numbers from 0 to the"),
        ({"bank": [-1.0]}, "past_units, bank, 0 = -1: must be whole numbers"),
        ({"bank": [0.5]}, "bank, 0 = 0.5: must be whole numbers from 0 to the bank's 3 units"),
        ({"bank": []}, "past_units, bank = of shape (0,): needs a number for one interval"),
        ({"bank": [[1.0]]}, "past_units, bank = of shape (1, 1): needs a number"),
        ({"bnak": [1.0]}, "past_units, bnak: no such bank of units; there are bank"),
        ({"hall": [1.0]}, "past_units, hall: no such bank of units; there are bank"),
    ],
)
def test_units_that_cannot_have_run_are_refused(ahead, past, words):
    known = {name: np.array(values) for name, values in past.items()}
    (fault,) = faults(site(BANK), ahead, past_units=known)
    assert words in fault


def test_units_that_may_have_run_are_taken(ahead):
    known = {"bank": np.array([0.0, 3.0])}
    assert problem(site(BANK), ahead, past_units=known).past_units is known


@pytest.mark.parametrize(
    ("name", "weight", "words"),
    [
        ("carbon", 1e9, "weights, carbon = 1e+09 EUR kg-1: must be finite, from 0 to 100 EUR kg-1"),
        ("water", 1e9, "weights, water = 1e+09 EUR m-3: must be finite, from 0 to 10000 EUR m-3"),
        ("lateness", 1e9, "must be finite, from 0 to 10000 EUR MWh-1 h-1"),
        ("money", 1e9, "weights, money = 1e+09: must be finite, from 0 to 1000"),
        ("carbon", np.nan, "weights, carbon = nan EUR kg-1: must be finite"),
        ("carbon", -0.1, "weights, carbon = -0.1 EUR kg-1: must be finite, from 0"),
    ],
)
def test_weights_beyond_any_price_are_refused(ahead, name, weight, words):
    (fault,) = faults(site(), ahead, **{name: weight})
    assert words in fault


def test_an_empty_horizon_is_refused(ahead):
    empty = ahead.isel(time=slice(0, 0), instant=slice(0, 1))
    assert any("one interval at least" in fault for fault in faults(site(), empty))


@pytest.mark.parametrize(
    ("name", "axes", "words"),
    [
        ("electricity_price", (), "on no axis: on time"),
        ("electricity_price", ("instant",), "on instant: on time"),
        ("air_temperature", ("time", "cohort"), "on time and cohort: on time"),
        ("service_racks", ("strange",), "on strange: on time"),
        ("terminal_price", ("time",), "on time: on no axis"),
        ("work_least", ("cohort",), "on cohort: on instant and cohort"),
        ("work_racks_limit", ("time",), "on time: on time and cohort"),
        ("work_rest", ("time", "cohort"), "on time and cohort: on cohort"),
        ("grid_import_limit", (), "on no axis: on time"),
    ],
)
def test_a_word_on_other_axes_is_refused(ahead, name, axes, words):
    """Sensitivity: one price for all intervals was taken, and most others ended in a trace-back."""
    given = np.zeros([ahead.sizes.get(axis, 3) for axis in axes])
    told = faults(site(), tag_dataset(ahead.assign({name: (axes, given)})))
    assert any(fault.startswith(f"outlook, {name} = {words};") for fault in told)


@pytest.mark.parametrize("kind", [str, object, complex])
def test_what_is_no_real_number_is_refused(ahead, kind):
    (fault,) = faults(
        site(), tag_dataset(ahead.assign(electricity_price=ahead["electricity_price"].astype(kind)))
    )
    assert fault.startswith("outlook, electricity_price = ")
    assert ": real numbers; convert" in fault


def test_a_source_named_twice_is_refused():
    twice = xr.concat([outlook([10.0, 20.0], sun=[1.0, 1.0])] * 2, "renewable", data_vars="minimal")
    (fault,) = faults(site(source()), twice)
    assert fault == "outlook, renewable = sun: every label once"


def test_a_site_whose_work_cannot_move_has_a_plan(ahead):
    """Proves: an outlook without any cohort is one of service alone: 1 MW at 10 and at 20."""
    alone = solved(site(), ahead.isel(cohort=slice(0, 0)))
    assert alone.objective == pytest.approx(30.0)
    assert build_schedule(alone)["hall_power"].to_numpy().ravel() == pytest.approx([1.0, 1.0])


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


def test_the_state_of_another_moment_is_refused(ahead):
    """Sensitivity: the twin refused every plan, and the remedy was to lower the service."""
    with pytest.raises(ProblemError, match=r"state, instant = 2026-06-30.* must be the first"):
        Problem(site(), state.initial_state(site(), "2026-06-30T23:00"), ahead)


def test_the_state_of_another_site_is_refused(ahead):
    with pytest.raises(ProblemError, match="battery"):
        Problem(site(battery()), state.initial_state(site(), START), ahead)


@pytest.mark.parametrize("word", ["wind_speed", "global_irradiance"])
def test_weather_that_a_plan_needs_not_is_whole_too(ahead, word):
    given = tag_dataset(ahead.assign({word: ("time", [1.0, np.nan])}))
    (fault,) = faults(site(), given)
    assert fault.startswith(f"outlook, {word}, 2026-07-01T01:00Z = nan ")
    assert fault.endswith(": must be finite")


def test_a_cohort_told_twice_is_refused(ahead):
    """Its work would be done, and paid for, twice."""
    (fault,) = faults(site(), ahead.isel(cohort=[0, 0]))
    assert fault == "outlook, cohort = batch/0: every label once"


def test_sun_in_kilowatts_is_refused():
    """Proves: 6,000 of a field of 6 MW; until then it was cut to 6 MW from dawn to dusk."""
    ahead = outlook([10.0, 20.0], sun=[50.0, 6000.0])
    (fault,) = faults(site(source(power=6.0)), ahead)
    assert "renewable_available_power, 2026-07-01T01:00Z" in fault
    assert "sun" in fault
    assert "is more than 10 times its 6 MW; is it in MW?" in fault


@pytest.mark.parametrize("weight", ["0.1", None, 1j])
def test_a_weight_that_is_no_number_is_named(ahead, weight):
    (fault,) = faults(site(), ahead, carbon=weight)
    assert fault == f"weights, carbon = {weight!r}: must be a number"


@pytest.mark.parametrize("output", [-1.0, 1e6])
def test_an_output_that_no_plant_gives_is_refused(output):
    asked = small_days.problem()
    spoilt = asked.state.copy(deep=True)
    spoilt["cooling_plant_output"].values[1] = output
    with pytest.raises(ProblemError, match=r"cooling_plant_output, chilled_plant.*8\.4 MW"):
        replace(asked, state=spoilt)
