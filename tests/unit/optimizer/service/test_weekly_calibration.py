"""Drift of machines: calibrated beside the decisions, stored, and raised as an alarm."""

import os
import threading

import numpy as np
import pytest

from optimizer.service import weekly_calibration as module
from optimizer.service.weekly_calibration import (
    CALIBRATIONS_FILE,
    DriftMonitor,
    calibrate_last_week,
    read_calibrations,
    store_calibration,
)
from telemetry.simulator.calibration_trial import CalibrationTrial
from tests.support import moments, skies
from tests.unit.twin.calibration.test_drift import EIR, weeks
from twin.calibration.drift import EstimatePoint

NOW = np.datetime64("2026-09-01T00:00", "us")
HOUR, DAY = np.timedelta64(1, "h"), np.timedelta64(1, "D")


def hang(*_):
    """Calibrate without end."""
    threading.Event().wait()


def filled(folder, course):
    for week in weeks(eir=course):
        store_calibration(folder / CALIBRATIONS_FILE, week)


def test_lost_cop_raises_an_alarm(tmp_path):
    filled(tmp_path, np.r_[np.full(8, 1.0), np.full(4, 1.087)])
    (change,) = DriftMonitor(moments.site(), tmp_path).wear_drifts()
    assert change.text.startswith("the chillers of chilled_plant lost 8% of their COP since")
    assert not change.is_severe


def test_larger_loss_is_more_severe_and_repair_clears(tmp_path):
    """Proves: both are read, though the file times may be equal."""
    wear = DriftMonitor(moments.site(), tmp_path)
    filled(tmp_path, np.r_[np.full(8, 1.0), np.full(4, 1.25)])
    os.utime(tmp_path / CALIBRATIONS_FILE, ns=(1, 1))
    assert wear.wear_drifts()[0].is_severe
    (tmp_path / CALIBRATIONS_FILE).unlink()
    filled(tmp_path, np.r_[np.full(8, 1.25), np.full(4, 1.0)])
    os.utime(tmp_path / CALIBRATIONS_FILE, ns=(1, 1))
    assert wear.wear_drifts() == ()


def test_missing_or_damaged_result_raises_no_alarm(tmp_path):
    wear = DriftMonitor(moments.site(), tmp_path)
    assert wear.wear_drifts() == ()
    for text in ("", "{", "[]", '{"calibrations": [1, {"start": "x"}]}'):
        (tmp_path / CALIBRATIONS_FILE).write_text(text)
        assert wear.wear_drifts() == ()


def test_stored_result_is_read_back(tmp_path):
    every = weeks(eir=np.full(3, 1.0))
    for week in reversed(every):
        store_calibration(tmp_path / CALIBRATIONS_FILE, week)
    assert read_calibrations(tmp_path / CALIBRATIONS_FILE) == every
    store_calibration(tmp_path / CALIBRATIONS_FILE, every[1])
    assert len(read_calibrations(tmp_path / CALIBRATIONS_FILE)) == 3
    assert isinstance(every[0].estimates[EIR], EstimatePoint)


@pytest.mark.slow
def test_calibration_starts_once_a_day(tmp_path):
    """There is no archive: the process ends by itself and stores nothing."""
    wear = DriftMonitor(moments.site(), tmp_path)
    wear.update(NOW)
    assert wear._process is None  # not in the first hour
    wear.update(NOW + HOUR)
    process = wear._process
    wear.update(NOW + HOUR)
    process.join()
    assert process.exitcode == 0
    wear.update(NOW + 2 * HOUR)
    assert wear._process is None
    wear.update(NOW + 3 * HOUR)
    assert wear._process is None
    assert read_calibrations(tmp_path / CALIBRATIONS_FILE) == []


def test_slow_calibration_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "calibrate_last_week", hang)
    wear = DriftMonitor(moments.site(), tmp_path)
    wear.update(NOW)
    wear.update(NOW + HOUR)
    process = wear._process
    wear.update(NOW + HOUR)
    assert process.is_alive()
    wear.update(NOW + 3 * HOUR)
    assert wear._process is None
    assert not process.is_alive()


def test_a_simulated_plant_is_not_calibrated(tmp_path):
    wear = DriftMonitor(moments.site(), tmp_path, is_disabled=True)
    wear.update(NOW)
    wear.update(NOW + DAY)
    assert wear._process is None


def test_week_of_the_archive_is_calibrated_and_stored(tmp_path, monkeypatch):
    readings = CalibrationTrial.run(moments.site(), skies.minutes("small", days=2), seed=1).readings
    arguments = {}

    def opened(site, **words):
        arguments.update(words, site=site)
        return readings

    monkeypatch.setattr(module.telemetry, "open", opened)
    monkeypatch.setattr(module.os, "nice", lambda _: 0)
    calibrate_last_week(moments.site(), tmp_path, NOW)
    assert arguments["end"] - arguments["start"] == 7 * DAY
    (week,) = read_calibrations(tmp_path / CALIBRATIONS_FILE)
    assert week.estimates[EIR].value == pytest.approx(1.0, abs=0.2)
