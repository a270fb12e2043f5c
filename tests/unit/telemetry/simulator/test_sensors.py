"""What sensors that fail show."""

import numpy as np
import xarray as xr

from telemetry.simulator.deviations import SensorFault, SensorModel


def test_a_sensor_that_is_stuck_from_the_start_shows_its_first_reading():
    """Proves: 1, 2, 3 degC are read as 1, 1, 3 where it fails for two minutes from the first on."""
    failing = SensorFault(
        variable="facility_supply_temperature", machine="warm", begin_minute=0, end_minute=2
    )
    sensing = SensorModel(temperature_sensor_error=0.0, missing_share=0.0, faults=[failing])
    true = xr.DataArray(
        np.array([[1.0], [2.0], [3.0]]), dims=("time", "circuit"), coords={"circuit": ["warm"]}
    )
    read = sensing._measured(true, "facility_supply_temperature", np.random.default_rng(0))
    assert read.to_numpy().ravel().tolist() == [1.0, 1.0, 3.0]
