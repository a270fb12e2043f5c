"""Loads and ratings of machines on a mild day, and machines that are too small for full halls."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from twin.errors import IssueCode, SiteError, ValidationIssue
from twin.physics import FloatArray, psychrometrics
from twin.relations import CARRIER_ENERGY_SIGN, Conversion, FlexibleLoad
from twin.weather import Weather


class SizedSite(Protocol):
    """The parts of a site from which its loads follow."""

    @property
    def elevation(self) -> float:
        """Elevation above sea level. [m]"""

    @property
    def flexible_loads(self) -> Sequence[FlexibleLoad]:
        """Loads of the halls."""

    @property
    def conversions(self) -> Sequence[Conversion]:
        """Conversions, consumers of a carrier before its suppliers."""


MILD_TEMPERATURE_C: Final = 10.0
"""Outdoor temperature at which every cooling plant has full capacity. [degC]"""

MILD_RELATIVE_HUMIDITY: Final = 0.7
"""Relative humidity at that temperature. [1]"""


def design_loads(site: SizedSite, *, busy_share: float) -> Mapping[str, float]:
    """Return the load of each carrier on a mild day, before stores and renewables.

    Parameters
    ----------
    site
        A site in which every carrier has a supplier.
    busy_share
        Share of the racks at full load; the others are idle. [1]

    Returns
    -------
    Mapping
        Carrier -> load. [MW; m3 h-1 for water]

    Raises
    ------
    SiteError
        If the numbers of a machine overflow, and NumPy raises overflows.

    Notes
    -----
    A load above the rating of a machine is shared by several such machines: the losses of one would
    grow with a power of the load and distort the loads of all machines before it.
    """
    weather = mild_weather(site)
    loads = {carrier: np.zeros(1) for carrier in CARRIER_ENERGY_SIGN}
    for work in site.flexible_loads:
        power = work.racks * (work.idle_power + busy_share * (work.full_power - work.idle_power))
        loads[work.carrier] += power
        for carrier, share in work.heat.items():
            loads[carrier] += share * power
    for convert in site.conversions:
        for carrier, draw in _draws(convert, loads[convert.output], weather).items():
            loads[carrier] += draw
    return {carrier: float(load[0]) for carrier, load in loads.items()}


def _draws(convert: Conversion, load: FloatArray, weather: Weather) -> Mapping[str, FloatArray]:
    """Return the inputs of a conversion, or of several such machines above its rating. [MW]"""
    rated = convert.max_output(weather)
    try:
        if not 0.0 < rated[0] < load[0]:
            return convert.flows_at_output(load, weather).inputs
        flows = convert.flows_at_output(rated, weather)
        return {carrier: load / rated * draw for carrier, draw in flows.inputs.items()}
    except FloatingPointError as error:
        cause = "that is far too small"
        if rated[0] >= load[0]:
            cause = "one of its numbers is far too small or far too large"
        raise SiteError.single(
            convert.owner,
            IssueCode.OUT_OF_RANGE,
            f"[equipment.{convert.owner}]",
            found=f"{rated[0]:.4g} MW",
            expected=f"numbers without overflow at {load[0]:.4g} MW",
            remedy=f"correct it: {cause} ({error})",
        ) from error


def rated_outputs(site: SizedSite) -> Mapping[str, float]:
    """Return the maximum output of each conversion on a mild day, by its owner. [MW]"""
    weather = mild_weather(site)
    return {convert.owner: float(convert.max_output(weather)[0]) for convert in site.conversions}


def mild_weather(site: SizedSite) -> Weather:
    """Return one interval of a mild day."""
    return Weather.constant(
        air=MILD_TEMPERATURE_C,
        humidity=MILD_RELATIVE_HUMIDITY,
        pressure=float(psychrometrics.standard_pressure(site.elevation)),
    )


def undersized_machines(site: SizedSite) -> Iterator[ValidationIssue]:
    """Yield an issue for each machine whose rating is below its load with full halls."""
    full, ratings = design_loads(site, busy_share=1.0), rated_outputs(site)
    for convert in site.conversions:
        load, limit = full[convert.output], ratings[convert.owner]
        if load > limit:
            yield IssueCode.OUT_OF_RANGE.issue(
                f"[equipment.{convert.owner}]",
                found=f"{limit:.4g} MW",
                expected=f"at least {load:.4g} MW of {convert.output}",
                remedy="raise its rating: all racks at full load need this power",
            )
