"""What is to be known of series that were read: filled, modelled, or taken from elsewhere."""

from collections.abc import Iterable
from typing import Final, Literal

import numpy as np
import xarray as xr

from twin.site import Site

FAR: Final = 100.0
"""Distance from which on it is said that weather was taken elsewhere. [km]"""

EARTH_RADIUS: Final = 6371.0
"""Mean radius of the Earth. [km]"""


def told_of(
    parts: Iterable[tuple[str, xr.Dataset]], what: Literal["gaps", "notes"]
) -> tuple[str, ...]:
    """Return what readers tell of series, each text once.

    Parameters
    ----------
    parts
        Name of the file, and what was read of it.
    what
        What was filled, or what else was decided on the way.
    """
    told = (f"{name}: {text}" for name, part in parts for text in part.attrs.get(what, ()))
    return tuple(dict.fromkeys(told))


def notes_on(site: Site, name: str, weather: xr.Dataset) -> list[str]:
    """Return what is to be known of a site's weather that was read from a file.

    Parameters
    ----------
    site
        The site, for its place.
    name
        Of the file.
    weather
        As :func:`optimizer.service.world.read_outdoors` gives it.
    """
    notes = []
    place = weather.attrs["file_latitude"], weather.attrs["file_longitude"]
    away = _distance(site, *place)
    if away > FAR:
        where = f"{place[0]:.1f} N {place[1]:.1f} E"
        notes.append(f"{name}: weather of {where}, {away:,.0f} km from {site.name}")
    if weather.attrs.get("modelled"):
        notes.append(f"{name}: modelled {weather.attrs['modelled']}")
    return notes


def _distance(site: Site, latitude: float, longitude: float) -> float:
    """Return the way from a site to a place on a round Earth, by the haversine. [km]"""
    here, there, turned = np.deg2rad([site.latitude, latitude, longitude - site.longitude])
    half = np.sin((there - here) / 2.0) ** 2
    half += np.cos(here) * np.cos(there) * np.sin(turned / 2.0) ** 2
    return float(2.0 * EARTH_RADIUS * np.arcsin(np.sqrt(half)))
