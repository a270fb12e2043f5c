"""Calibration: parameters from telemetry, with honest uncertainty."""

import numpy as np
import pytest
import xarray as xr

import sites
from telemetry.simulator.calibration_trial import CalibrationTrial
from telemetry.simulator.deviations import SensorFault, SensorModel
from tests.support import skies
from tests.support.histories import NOISE, history_of, operation_of
from twin.calibration.calibrate import Identifiability, calibrate
from twin.calibration.fit import calibration_parameters, parameter_value
from twin.calibration.telemetry_history import TelemetryHistory
from twin.errors import StateError, UnitError

SITE = sites.load_site("small")
DAY = 1440
EXACT = SensorModel(
    power_meter_error=0.0, level_sensor_error=0.0, temperature_sensor_error=0.0, missing_share=0.0
)


def trial(seed=3, *, days=2, sensing=None):
    return CalibrationTrial.run(SITE, skies.minutes("small", days=days), seed=seed, sensing=sensing)


@pytest.fixture(scope="module")
def noisy():
    return trial()


@pytest.fixture(scope="module")
def calibration(noisy):
    return calibrate(SITE, noisy.readings)


def truth(trial, parameter):
    if parameter.is_offset:
        return 0.0
    return parameter_value(trial.worn_site.equipment[parameter.machine], parameter.path)


def found(calibration, name):
    return next(e for e in calibration.estimates if e.parameter.name == name)


def test_every_parameter_has_an_estimate_within_its_bounds(calibration):
    assert calibration.estimates
    assert tuple(e.parameter for e in calibration.estimates) == calibration_parameters(SITE)
    for estimate in calibration.estimates:
        parameter = estimate.parameter
        assert parameter.lower_bound <= estimate.value <= parameter.upper_bound
        assert 0.0 < estimate.standard_error <= parameter.prior_std


def test_identified_parameters_are_right(noisy, calibration):
    named = [e for e in calibration.estimates if e.identifiability is Identifiability.IDENTIFIED]
    assert len(named) > 8
    for estimate in named:
        true = truth(noisy, estimate.parameter)
        if not estimate.parameter.is_offset:
            assert estimate.value == pytest.approx(true, rel=0.02), estimate.parameter.name


def test_errors_cover_the_truth_as_often_as_stated(noisy, calibration):
    z = [
        (e.value - truth(noisy, e.parameter)) / e.standard_error
        for e in calibration.estimates
        if e.identifiability is not Identifiability.UNKNOWN
    ]
    assert np.sqrt(np.mean(np.square(z))) < 2.5
    assert np.max(np.abs(z)) < 6.0


def test_the_calibrated_site_is_a_copy(calibration):
    assert SITE.equipment["ups_1"].loss_factor == 1.0
    ups = calibration.site.equipment["ups_1"]
    assert ups.loss_factor == found(calibration, "ups_1.loss_factor").value


def test_plant_that_matches_its_file_is_not_changed():
    plant = CalibrationTrial.run(
        SITE, skies.minutes("small", days=1), seed=5, sensing=EXACT, share=0.0
    )
    identified = [
        estimate
        for estimate in calibrate(SITE, plant.readings).estimates
        if estimate.identifiability is Identifiability.IDENTIFIED
        and estimate.parameter.path[0] in {"loss_factor", "fouling"}
    ]
    assert identified
    for estimate in identified:
        assert estimate.value == pytest.approx(estimate.parameter.prior, rel=0.01)


def test_unmetered_parameters_stay_and_are_named(noisy):
    """Without meters behind the connection no loss of the UPS is known."""
    deaf = noisy.readings.drop_vars(
        [
            "transformer_output",
            "grid_import_power",
            "grid_export_power",
            "technology_supply_temperature",
        ]
    )
    result = calibrate(SITE, deaf)
    loss, fouling = found(result, "ups_1.loss_factor"), found(result, "cdu_1.fouling")
    assert {"ups_1.loss_factor", "cdu_1.fouling"} <= set(result.unidentified)
    assert (loss.value, fouling.value) == (1.0, 1.0)
    assert loss.standard_error == pytest.approx(loss.parameter.prior_std)
    assert result.site.equipment["ups_1"] == SITE.equipment["ups_1"]


def test_connection_meter_replaces_missing_submeters(noisy):
    result = calibrate(SITE, noisy.readings.drop_vars("transformer_output"))
    true = noisy.worn_site.equipment["ups_1"].loss_factor
    assert found(result, "ups_1.loss_factor").value == pytest.approx(true, rel=0.05)


def test_outliers_have_little_influence(noisy, calibration):
    """Two hours in which a meter shows five times what is true."""
    wild = noisy.readings.copy(deep=True)
    for name in ("cooling_plant_draw", "transformer_output"):
        wild[name][300:420] = 5.0 * wild[name][300:420]
    result = calibrate(SITE, wild)
    for name in ("ups_1.loss_factor", "chilled_plant.chillers.eir_factor"):
        was, now = found(calibration, name), found(result, name)
        assert now.value == pytest.approx(was.value, abs=4.0 * was.standard_error)


def test_gap_has_little_influence(noisy, calibration):
    torn = noisy.readings.where(
        (noisy.readings["time"] < noisy.readings["time"][600])
        | (noisy.readings["time"] > noisy.readings["time"][900])
    ).assign_coords(noisy.readings.coords)
    torn["duration"] = noisy.readings["duration"]
    result = calibrate(SITE, torn)
    was, now = (found(c, "ups_1.loss_factor") for c in (calibration, result))
    assert now.standard_error > was.standard_error
    assert now.value == pytest.approx(was.value, abs=4.0 * now.standard_error)


def test_sensor_offset_is_found():
    off = SensorModel(offsets={("facility_supply_temperature", "chilled_plant"): 0.4})
    result = calibrate(SITE, trial(days=1, sensing=off).readings)
    name = ("facility_supply_temperature", "chilled_plant")
    assert result.offsets[name] == pytest.approx(0.4, abs=0.05)


def test_bounds_are_kept_and_reported(noisy):
    """A meter that shows three times the draw asks for fans that nobody would build."""
    wild = noisy.readings.copy(deep=True)
    wild["hall_air_draw"] = 3.0 * wild["hall_air_draw"]
    result = calibrate(SITE, wild)
    assert found(result, "hall_air_1.fan_power").is_at_bound
    assert all(
        e.parameter.lower_bound <= e.value <= e.parameter.upper_bound for e in result.estimates
    )


def test_only_requested_parameters_change(noisy):
    asked = [p for p in calibration_parameters(SITE) if p.name == "ups_1.loss_factor"]
    result = calibrate(SITE, noisy.readings, parameters=asked)
    assert [e.parameter for e in result.estimates] == asked
    assert result.site.equipment["cdu_1"] == SITE.equipment["cdu_1"]


def test_parameters_that_replace_others_are_reported(calibration):
    """How far the coolant is above the water: a worn exchanger, or a thermometer that is off."""
    pairs = [{one, other} for one, other, _ in calibration.correlated_pairs]
    assert {"cdu_1.fouling", "cdu_1.technology_supply_temperature.offset"} in pairs


def test_report_is_a_table(calibration):
    table = calibration.report()
    assert list(table["parameter"]) == [e.parameter.name for e in calibration.estimates]
    assert np.diag(table["correlation"]) == pytest.approx(1.0)
    assert (np.diff(table["singular_value"]) <= 0.0).all()


def test_history_without_weather_or_meters_is_refused(noisy):
    with pytest.raises(StateError, match="air_temperature"):
        calibrate(SITE, noisy.readings.drop_vars("air_temperature"))
    with pytest.raises(StateError, match=r"history: .*\[missing\]"):
        calibrate(SITE, noisy.readings[["air_temperature", "relative_humidity", "duration"]])
    with pytest.raises(StateError, match="time"):
        calibrate(SITE, noisy.readings.isel(time=[]))


def test_history_too_short_or_in_wrong_units_is_refused(noisy):
    with pytest.raises(StateError, match=r"23 h from .* to .*: from 24 to"):
        calibrate(SITE, noisy.readings.isel(time=slice(0, 23 * 60)))
    named = noisy.readings.copy(deep=True)
    named["hall_power"].attrs["units"] = "kW"
    with pytest.raises(UnitError, match="hall_power"):
        calibrate(SITE, named)
    kilowatts = noisy.readings.copy(deep=True)
    kilowatts["hall_power"] *= 1000.0
    kilowatts["air_temperature"] += 273.15
    with pytest.raises(StateError) as caught:
        calibrate(SITE, kilowatts)
    places = [fault.location for fault in caught.value.issues]
    assert places == ["hall_power of hall_1", "hall_power of hall_2", "air_temperature"]


def test_implausible_timestamps_are_named(noisy):
    odd = noisy.readings.isel(time=slice(0, 100))
    odd = odd.assign_coords(time=np.append(odd["time"][:-1], np.datetime64("2090-01-01", "us")))
    with pytest.raises(StateError, match=r"to 2090-01-01T00:00Z.*out-of-range"):
        calibrate(SITE, odd)
    with pytest.raises(StateError, match=r"0.25 h from 2090-01-01T00:00Z"):
        calibrate(SITE, odd.isel(time=[-1]))


def test_impossible_air_is_refused_or_single_readings_dropped(noisy, calibration):
    percent = noisy.readings.copy(deep=True)
    percent["relative_humidity"] *= 100.0
    hectopascals = np.full(percent.sizes["time"], 1013.0)
    percent["air_pressure"] = "time", hectopascals, {"units": "kPa"}
    with pytest.raises(StateError) as caught:
        calibrate(SITE, percent)
    remedies = {fault.location: fault.remedy for fault in caught.value.issues}
    assert sorted(remedies) == ["air_pressure", "relative_humidity"]
    assert remedies["relative_humidity"] == "convert the unit"
    wild = noisy.readings.copy(deep=True)
    wild["relative_humidity"][600:630] *= 100.0
    result = calibrate(SITE, wild)
    assert (
        "relative_humidity cannot have been what was read: 2 quarter-hours"
        in result.data_quality[0]
    )
    name = "chilled_plant.rejection.approach_factor"
    was, now = found(calibration, name), found(result, name)
    assert now.value == pytest.approx(was.value, abs=now.standard_error)


def test_stuck_sensor_is_left_out_and_reported(noisy, calibration):
    stuck = noisy.readings.copy(deep=True)
    stuck["cooling_plant_draw"][600:1300, 1] = float(stuck["cooling_plant_draw"][599, 1])
    result = calibrate(SITE, stuck)
    assert calibration.data_quality == ()
    (said,) = result.data_quality
    assert "cooling_plant_draw of chilled_plant stood still" in said
    name = "chilled_plant.chillers.eir_factor"
    was, now = found(calibration, name), found(result, name)
    assert now.value == pytest.approx(was.value, abs=4.0 * now.standard_error)


def test_readings_sent_on_change_are_weighted_by_time():
    """Three readings of 9 in one minute, one of 0 in the next: 4.5 and not 6.75."""
    seconds = np.concatenate([[1, 20, 40, 65], np.arange(61, 86400, 60) + 60])
    values = np.concatenate([[9.0, 9.0, 9.0, 0.0], np.full(len(seconds) - 4, np.nan)])
    data = {
        "hall_power": (("time", "hall"), np.stack([values, values], axis=1), {"units": "MW"}),
        "air_temperature": ("time", np.full(len(seconds), 20.0), {"units": "degC"}),
        "relative_humidity": ("time", np.full(len(seconds), 0.5), {"units": "1"}),
    }
    time = np.datetime64("2026-07-01", "us") + seconds * np.timedelta64(1, "s")
    read = xr.Dataset(data, coords={"time": time, "hall": ["hall_1", "hall_2"]})
    assert TelemetryHistory(SITE, read).get("hall_power", "hall_1")[0] == pytest.approx(4.5)


@pytest.mark.slow
def test_drifting_sensor_is_reported():
    """0.2 K a day of the chilled water, over five days."""
    drift = SensorFault(
        variable="facility_supply_temperature",
        machine="chilled_plant",
        begin_minute=1,
        end_minute=5 * DAY,
        drift=0.2 / 24.0,
    )
    result = calibrate(SITE, trial(days=5, sensing=SensorModel(faults=[drift])).readings)
    assert any(
        "facility_supply_temperature.chilled_plant moved by +" in t for t in result.data_quality
    )
    assert not any("warm_plant" in text for text in result.data_quality)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_calibration_of_one_week_predicts_the_next(seed):
    """The acceptance of issue 4; `gigatwin calibrate small --trial 20` gives all twenty seeds."""
    plant = trial(seed, days=14)
    week = 7 * DAY
    result = calibrate(SITE, plant.readings.isel(time=slice(0, week)))
    score = plant.score(result.site, week, 2 * week)
    assert score.cv_rmse <= 0.027
    assert abs(score.nmbe) <= 0.01
    assert score.temperature_rmse <= 0.5
    identified = [
        estimate
        for estimate in result.estimates
        if estimate.identifiability is Identifiability.IDENTIFIED
        and not estimate.parameter.is_offset
    ]
    assert identified
    for estimate in identified:
        true = truth(plant, estimate.parameter)
        assert estimate.value == pytest.approx(true, rel=0.02), estimate.parameter.name


def test_intervals_without_weather_are_not_used():
    """Proves: machines are not held against a straight line over two days.

    Sensitivity: the chillers had lost an eighth of their COP by a history of four days.
    """
    read = history_of(SITE, operation_of(SITE, days=4), noise=NOISE)
    for name in ("air_temperature", "relative_humidity"):
        read[name][100:292] = np.nan
    result = {e.parameter.name: e for e in calibrate(SITE, read).estimates}
    for name in ("rejection.approach_factor", "chillers.eir_factor"):
        estimate = result[f"chilled_plant.{name}"]
        assert estimate.identifiability is Identifiability.IDENTIFIED
        assert estimate.value == pytest.approx(1.0, abs=3.0 * estimate.standard_error)
