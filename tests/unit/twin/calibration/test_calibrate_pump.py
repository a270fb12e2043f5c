"""Calibration of a heat pump whose network has a sliding supply temperature."""

import numpy as np
import pytest
import xarray as xr

from tests.support.heat_pump_site import heated
from twin.calibration.applied_setpoints import AppliedSetPoints
from twin.calibration.channels import thermal_channels
from twin.calibration.telemetry_history import TelemetryHistory


def readings(air):
    """Return a day in which the pump delivers 0.5 MW at some outdoor air."""
    count = 24 * 4
    time = np.datetime64("2026-01-01", "us") + np.arange(count) * np.timedelta64(15, "m")
    still = {"air_temperature": (air, "degC"), "relative_humidity": (0.5, "1")}
    data = {name: ("time", np.full(count, v), {"units": u}) for name, (v, u) in still.items()}
    for name, value in (("heat_reuse_power", 0.5), ("heat_reuse_draw", 0.1)):
        data[name] = (("time", "heat_reuse"), np.full((count, 1), value), {"units": "MW"})
    length = ("time", np.full(count, 0.25), {"units": "h"})
    coords = {"time": time, "heat_reuse": ["pump"], "duration": length}
    return xr.Dataset(data, coords=coords)


@pytest.mark.parametrize(("air", "supply"), [(-10.0, "80 degC"), (20.0, "62 degC")])
def test_sliding_supply_temperature_is_followed(air, supply):
    """Proves: at -10 degC the network has 80 degC, at 20 degC 62 degC, as if it stood there.

    Sensitivity: at 20 degC the draw at 80 degC, a fifth more.
    """
    site = heated(mild_supply_temperature="62 degC")
    history = TelemetryHistory(site, readings(air))
    channels = thermal_channels(site, history, AppliedSetPoints.from_history(site, history))
    (channel,) = (c for c in channels if "pump" in c.machines)
    steady = heated(supply_temperature=supply).equipment["pump"]
    expected = float(steady.power(np.array([0.5]))[0])
    assert channel.predict(site, {}) == pytest.approx(np.full(96, expected), rel=1e-9)
