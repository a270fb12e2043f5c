"""Cabinets of chassis: from the work of their processors to the power of a hall, each second."""

from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.equipment import CduBank, ITHall
from twin.equipment.it_hall import Chassis
from twin.errors import StateError, ValidationIssue
from twin.physics.cabinet_kernel import Plane, WorkArray, add_chassis
from twin.racks.kernels import compile_kernel
from twin.site import Site

STRAIGHT: Final = 1e-12
"""Share of a number that is rounding. [1]"""

SHARES: Final = ("cpu_share", "gpu_share")


def follow(site: Site, work: xr.Dataset) -> xr.Dataset:
    """Return what the cabinets of a site and their coolant units draw.

    Parameters
    ----------
    site
        A site whose halls have chassis.
    work
        ``cpu_share`` and ``gpu_share`` on ``(time, rack, chassis)``, where the processors of each
        chassis stand between idle, 0, and full, 1; racks stand hall after hall. Whole numbers with
        a ``scale_factor`` among the attributes, as percentages with 0.01, do as they are.

    Returns
    -------
    xarray.Dataset
        ``rack_power`` on ``(time, rack)``, ``hall_power`` on ``(time, hall)`` and
        ``cdu_pump_power`` on ``(time, cdu)``, tagged.

    Raises
    ------
    StateError
        If a hall has no chassis, or the shares are misshapen or not within 0 and 1.
    UnitError
        If a share or its unit is missing.
    """
    halls, units = site.machines_of(ITHall), site.machines_of(CduBank)
    variables.check_variables(work, *SHARES)
    chassis = [_chassis(site, hall) for hall in halls]
    shape = (work.sizes.get("time", 0), site.racks, chassis[0].count)
    cpu, gpu = (_checked(site, work[name], shape) for name in SHARES)
    scales = [float(work[name].attrs.get("scale_factor", 1.0)) for name in SHARES]
    racks = np.empty(shape[:2], np.float32)
    power = np.empty((shape[0], len(halls)))
    first = 0
    for column, hall in enumerate(halls):
        own = slice(first, first := first + hall.racks)
        add = compile_kernel(add_chassis)
        add(plane_of(chassis[column], *scales), (cpu[:, own], gpu[:, own]), racks[:, own])
        power[:, column] = racks[:, own].sum(axis=1, dtype=np.float64)
    heat = power @ np.array([hall.liquid_share for hall in halls])
    labels = [f"{hall.name}/r{rack + 1:04d}" for hall in halls for rack in range(hall.racks)]
    names = {"rack": labels, "hall": [h.name for h in halls], "cdu": [u.name for u in units]}
    return variables.tag_dataset(
        xr.Dataset(
            {
                "rack_power": (("time", "rack"), racks),
                "hall_power": (("time", "hall"), power),
                "cdu_pump_power": (
                    ("time", "cdu"),
                    np.stack([u.pump_power_at(heat) for u in units], 1),
                ),
            },
            coords={"time": work["time"], **names},
        )
    )


def plane_of(chassis: Chassis, cpu_scale: float = 1.0, gpu_scale: float = 1.0) -> Plane:
    """Return the power of one chassis over its work, from its own physics at the four corners.

    Parameters
    ----------
    chassis
        The chassis.
    cpu_scale, gpu_scale
        Shares that ones stand for in the work it will meet. [1]
    """
    x, y = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0])
    idle, cpu, gpu, full = (chassis.cabinet_power(x, y) / chassis.count).tolist()
    both = full - cpu - gpu + idle
    return Plane(
        base=idle,
        cpu=cpu_scale * (cpu - idle),
        gpu=gpu_scale * (gpu - idle),
        both=cpu_scale * gpu_scale * both if abs(both) > STRAIGHT * full else 0.0,
    )


def _chassis(site: Site, hall: ITHall) -> Chassis:
    """Return the chassis of a hall, which must be as many in each cabinet as in the first hall."""
    first = site.machines_of(ITHall)[0].chassis
    if hall.chassis is None or first is None or hall.chassis.count != first.count:
        remedy = "cabinets are followed where all halls have chassis, equally many in a cabinet"
        raise StateError(
            site.name, [ValidationIssue(location=f"{hall.name}, chassis", found="", remedy=remedy)]
        )
    return hall.chassis


def _checked(site: Site, share: xr.DataArray, shape: tuple[int, int, int]) -> WorkArray:
    """Return a share as the kernel wants it."""
    place = str(share.name)
    if share.dims != ("time", "rack", "chassis") or share.shape != shape:
        remedy = f"give it on (time, rack, chassis), {shape}"
        raise StateError(
            site.name, [ValidationIssue(location=place, found=str(share.shape), remedy=remedy)]
        )
    values = share.to_numpy()
    scale = float(share.attrs.get("scale_factor", 1.0))
    low, high = (scale * values.min(), scale * values.max()) if values.size else (0.0, 1.0)
    if not (low >= 0.0 and high <= 1.0 + STRAIGHT):  # NaN too
        remedy = "must be within 0 and 1"
        value = f"{low:g} to {high:g}"
        raise StateError(site.name, [ValidationIssue(location=place, found=value, remedy=remedy)])
    return values
