"""From messages of a plant, through the archive, to its parameters."""

import numpy as np
import pytest

import sites
import telemetry
from telemetry.archive import Archive
from telemetry.journal.format import JournalPosition
from telemetry.messages import decode
from telemetry.simulator.bms import SimulatedBms
from telemetry.simulator.calibration_trial import CalibrationTrial
from telemetry.simulator.deviations import FacilityNoise
from tests.support import skies
from twin.calibration.calibrate import Identifiability, calibrate
from twin.calibration.fit import parameter_value
from twin.equipment import ITHall

SITE = sites.load_site("small")
EVERY = 3  # minutes between two readings
ALIASES = {"hall_air_fan_power": "hall_air_draw"}
RACK_POINTS = ("rack_power", "rack_supply_temperature", "rack_return_temperature", "rack_flow")


def truth(record, minute):
    """Return (variable, machine) -> value in a minute of a record."""
    values = {}
    for name, array in record.data_vars.items():
        axis = "time" if "time" in array.dims else "instant"
        now = array.isel({axis: minute + (axis == "instant")})
        word = ALIASES.get(str(name), str(name))
        if now.dims:
            pairs = zip(now[now.dims[0]].to_numpy().tolist(), now.to_numpy().tolist(), strict=True)
            values.update({(word, owner): value for owner, value in pairs})
        else:
            owner = SITE.grid_connection.name if word.startswith(("grid_", "peak_")) else ""
            owner = "weather" if word in {"air_temperature", "relative_humidity"} else owner
            values[word, owner if owner != "weather" else ""] = float(now)
    return values


@pytest.fixture(scope="module")
def plant_and_folder(tmp_path_factory):
    """Return a plant, and the state folder with the archive of two of its days."""
    plant = CalibrationTrial.run(SITE, skies.minutes("small", days=2), seed=3)
    folder = tmp_path_factory.mktemp("state")
    noise = FacilityNoise(power_meter_error=0.01, level_sensor_error=0.01)
    bms = SimulatedBms(SITE, None, rng=np.random.default_rng(1), noise=noise, repeat=10)
    archive, offset = Archive(folder / "archive", SITE.name), 0

    def store(message):
        nonlocal offset
        offset += 10
        archive.add(decode(*message), JournalPosition(1, offset))
        archive.record_journal_position(JournalPosition(1, offset))

    for message in bms.metadata_messages():
        store(message)
    racks = {name: np.zeros(sum(h.racks for h in SITE.machines_of(ITHall))) for name in RACK_POINTS}
    times = plant.true_record["time"].to_numpy()
    for minute in range(EVERY - 1, len(times), EVERY):
        moment = times[minute] + np.timedelta64(1, "m")
        for message in bms.changed_messages(truth(plant.true_record, minute), racks, time=moment):
            store(message)
    archive.commit(include_open=True)
    return plant, folder


@pytest.mark.slow
def test_a_site_is_calibrated_by_its_archive(plant_and_folder):
    plant, folder = plant_and_folder
    result = calibrate(SITE, telemetry.open(SITE, root=folder))
    named = {e.parameter.name: e for e in result.estimates}
    for name in ("ups_1.loss_factor", "chilled_plant.chillers.eir_factor", "cdu_1.fouling"):
        estimate = named[name]
        true = parameter_value(
            plant.worn_site.equipment[estimate.parameter.machine], estimate.parameter.path
        )
        assert estimate.identifiability is not Identifiability.UNKNOWN, name
        assert estimate.value == pytest.approx(true, rel=0.02, abs=3.0 * estimate.standard_error), (
            name
        )
    assert (
        named["hall_1.power_factor_error"].identifiability is Identifiability.UNKNOWN
    )  # the archive holds no racks
