"""Effectiveness of a site over a run: the key performance indicators of EN 50600-4."""

from typing import Final

import numpy as np
import xarray as xr

from twin import vocabulary
from twin.equipment import Cdu, CoolingPlant, Equipment, Genset, HallAir, HeatReuse, Renewable
from twin.site import Site

NAMES = ("grid_import_power", "grid_export_power", "it_power", "facility_power", "water_use")
"""What a run must hold."""

COOLING: Final[dict[str, type[Equipment]]] = {
    "cooling_plant_compressor_power": CoolingPlant,
    "cooling_plant_fan_power": CoolingPlant,
    "cooling_plant_pump_power": CoolingPlant,
    "cdu_pump_power": Cdu,
    "hall_air_fan_power": HallAir,
}
"""What cooling draws, in words of a run -> kind of machine that draws it."""

TOLD_BY: Final[dict[str, type[Equipment]]] = {
    **COOLING,
    "genset_output": Genset,
    "heat_reuse_power": HeatReuse,
    "renewable_used_power": Renewable,
}
"""Word that figures sum -> kind of machine of which a run tells it."""


def indicators(result: xr.Dataset, *, carbon_intensity: xr.DataArray | None = None) -> xr.Dataset:
    r"""Return PUE, WUE, ERF, REF and, where carbon is known, CUE of a run.

    Parameters
    ----------
    result
        A run on ``time`` with ``duration``, as :func:`twin.simulation.simulate` gives it:
        ``facility_power``, ``it_power``, ``grid_import_power``, ``grid_export_power`` [MW],
        ``water_use`` [m3 h-1] and, where there are any, ``renewable_used_power`` and
        ``heat_reuse_power`` [MW].
    carbon_intensity
        Carbon intensity of the grid on the same ``time``; without it there is no CUE. [kg MWh-1]

    Returns
    -------
    xarray.Dataset
        Scalars ``pue``, ``erf``, ``ref`` [1], ``wue`` [m3 MWh-1] and ``cue`` [kg MWh-1]; NaN
        where the IT drew nothing, or where a word that it takes is NaN anywhere.

    Raises
    ------
    UnitError
        If a variable or its unit is missing.

    Notes
    -----
    With the energy :math:`E` of the run, of IT taken at the outputs of the UPS (category 1),

    .. math::
        PUE = \frac{E_{DC}}{E_{IT}}, \quad WUE = \frac{V}{E_{IT}}, \quad
        CUE = \frac{\int p_{import} c \, dt}{E_{IT}}, \quad
        ERF = \frac{E_{reuse}}{E_{DC}}, \quad REF = \frac{E_{ren}}{E_{DC}}

    :math:`V` is the water drawn on site. CUE counts all import at the grid's average intensity and
    gives no credit for export. :math:`E_{ren}` is what sun, wind and contracts gave, less what was
    exported meanwhile, at most :math:`E_{DC}`; the renewable share of the grid does not count.
    :math:`E_{reuse}` is the heat handed over; the electricity that lifts it counts in
    :math:`E_{DC}`. What batteries lose counts neither in PUE nor in :math:`E_{DC}`. The standards
    ask for whole years; over shorter runs these are interim values.

    References
    ----------
    .. [1] EN 50600-4-2:2016, "Power usage effectiveness."
    .. [2] EN 50600-4-3:2016, "Renewable energy factor."
    .. [3] EN 50600-4-6:2020, "Energy reuse factor."
    .. [4] EN 50600-4-8:2022, "Carbon usage effectiveness."
    .. [5] EN 50600-4-9:2022, "Water usage effectiveness."
    """
    vocabulary.check(result, *NAMES)
    it, facility = _total(result["it_power"]), _total(result["facility_power"])
    values = {
        "pue": _share(facility, it),
        "wue": _share(_total(result["water_use"]), it),
        "erf": _share(_total(_reused(result)), facility),
        "ref": _share(_total(own_renewables(result)), facility),
    }
    if carbon_intensity is not None:
        vocabulary.check(carbon_intensity.to_dataset(name="carbon_intensity"), "carbon_intensity")
        values["cue"] = _share(_total(result["grid_import_power"] * carbon_intensity), it)
    return vocabulary.tag_all(xr.Dataset({name: ((), value) for name, value in values.items()}))


def lacking(site: Site, result: xr.Dataset) -> frozenset[str]:
    """Return the words of which the site has machines and the run tells nothing.

    What such a machine did is not known, and not 0.
    """
    return frozenset(
        word for word, kind in TOLD_BY.items() if word not in result and any(site.of(kind))
    )


def _reused(result: xr.Dataset) -> xr.DataArray:
    """Return the heat handed over. [MW]"""
    if "heat_reuse_power" not in result:
        return xr.zeros_like(result["facility_power"])
    vocabulary.check(result, "heat_reuse_power")
    return result["heat_reuse_power"].sum("heat_reuse", skipna=False)


def own_renewables(result: xr.Dataset) -> xr.DataArray:
    """Return the renewable power used on site, at most the power of the site. [MW]"""
    if "renewable_used_power" not in result:
        return xr.zeros_like(result["facility_power"])
    vocabulary.check(result, "renewable_used_power")
    gained = result["renewable_used_power"].sum("renewable", skipna=False)
    kept = (gained - result["grid_export_power"]).clip(min=0.0)
    return xr.DataArray(np.minimum(kept, result["facility_power"]))


def _total(rate: xr.DataArray) -> float:
    """Return what a rate per hour sums to; NaN where any of it is not known."""
    return float((rate * rate["duration"]).sum(skipna=False))


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0.0 else float("nan")
