"""Calibration of the bus: genset output and switchgear loss are not taken for UPS loss."""

import numpy as np
import pytest

import sites
from tests.support.histories import NOISE, history_of, operation_of
from tests.support.random_sites import switchgear
from tests.support.runs import ordered
from twin.calibration.calibrate import Identifiability, calibrate
from twin.calibration.fit import calibration_parameters
from twin.equipment import Battery, ITHall

SITE = sites.load_site("small")
LOSS = [p for p in calibration_parameters(SITE) if p.name == "ups_1.loss_factor"]


def loss_of(site, read):
    (estimate,) = calibrate(site, read, parameters=LOSS).estimates
    return estimate.value


def shielded():
    """Return the site with switchgear that loses half a percent, and 6 kW for itself."""
    made = switchgear(SITE.equipment, np.random.default_rng(1))
    made["switchgear_1"] = made["switchgear_1"].model_copy(
        update={"rating": 6.0, "rated_loss": 0.005, "own_use": 0.001}
    )
    return SITE.with_equipment(SITE.equipment | made)


def test_genset_output_is_not_taken_for_ups_gain():
    """Proves: 0.6 MW from gensets in every fifth quarter-hour leave the UPS as it is."""
    operation = ordered(operation_of(SITE), "genset_power", "genset", genset_1=0.6)
    operation["genset_power"] *= np.arange(operation.sizes["time"])[:, None] % 5 == 0
    operation["genset_power"].attrs["units"] = "MW"
    read = history_of(SITE, operation, noise=NOISE)
    assert float(read["genset_output"].max()) > 0.5
    assert loss_of(SITE, read) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("unmetered", [[], ["switchgear_output"], ["transformer_output"]])
def test_switchgear_loss_is_not_taken_for_ups_loss(unmetered):
    """Proves: whatever meters there are before the bus, losses of switchgear are its own.

    Sensitivity: with that of the transformers alone the UPS had lost 3 % more.
    """
    site = shielded()
    read = history_of(site, operation_of(site), noise=NOISE).drop_vars(unmetered)
    assert loss_of(site, read) == pytest.approx(1.0, abs=0.01)


def test_connection_meter_alone_replaces_all_submeters():
    site = shielded()
    read = history_of(site, operation_of(site))
    read = read.drop_vars(["switchgear_output", "transformer_output"])
    assert loss_of(site, read) == pytest.approx(1.0, abs=0.01)


def test_calibration_accepts_readings_without_error():
    """Proves: no meter counts as more exact than a ten-thousandth; other machines stay sound.

    Unmetered gensets add large errors in every seventh quarter-hour.
    Sensitivity: the residuals of other meters are rounding alone, whose matrix was singular.
    """
    operation = ordered(operation_of(SITE), "genset_power", "genset", genset_1=2.7)
    operation["genset_power"] *= np.arange(operation.sizes["time"])[:, None] % 7 == 0
    operation["genset_power"].attrs["units"] = "MW"
    read = history_of(SITE, operation).drop_vars(["genset_power", "genset_output"])
    others = [e for e in calibrate(SITE, read).estimates if e.parameter.machine != "ups_1"]
    assert len(others) > 10
    for estimate in others:
        parameter = estimate.parameter
        wanted = pytest.approx(parameter.prior, rel=0.02, abs=0.02)
        assert estimate.value == wanted, parameter.name


def test_exporting_site_gives_the_same_calibration():
    """Proves: power that goes out loses on its way as power that comes in.

    Sensitivity: the loss of the transformers was taken for all of what went out.
    """
    operation = operation_of(SITE)
    idle = np.array([hall.idle_power for hall in SITE.machines_of(ITHall)])
    operation["hall_power"][:] = np.broadcast_to(idle, operation["hall_power"].shape)
    operation["accelerator_utilisation"][:] = 0.0
    (battery,) = SITE.machines_of(Battery)
    big = battery.model_copy(update={"capacity": 1000.0, "power": 8.0})
    site = SITE.with_equipment(SITE.equipment | {battery.name: big})
    operation = ordered(operation, "battery_discharge", "battery", **{battery.name: 4.0})
    read = history_of(site, operation).drop_vars("transformer_output")
    assert float(read["grid_export_power"].min()) > 1.0
    assert loss_of(site, read) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("name", "owner"),
    [("cooling_plant_draw", "chilled_plant"), ("battery_charge", "battery_1")],
)
def test_unmetered_load_is_not_taken_for_ups_loss(name, owner):
    """Proves: where one machine of the bus has no meter, the bus does not tell the UPS's loss.

    Sensitivity: what the plant drew was taken for 7 % more loss, and that counted as identified.
    """
    read = history_of(SITE, operation_of(SITE), noise=NOISE)
    (dim,) = (dim for dim in read[name].dims if dim != "time")
    others = read[name].isel({dim: np.flatnonzero(read[dim] != owner)}).rename({dim: "metered"})
    (loss,) = calibrate(SITE, read.assign({name: others}), parameters=LOSS).estimates
    assert loss.identifiability is Identifiability.UNKNOWN
    assert loss.value == 1.0
