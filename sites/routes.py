"""The routes of a fleet from a TOML file: which work may move from where to where."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from sites.catalogue import read, shown
from sites.faults import faults_of, written
from twin.errors import Fault, SiteError
from twin.routes import Route


def load_routes(path: str | Path) -> Mapping[str, Route]:
    """Return the routes that a file declares.

    Parameters
    ----------
    path
        A TOML file with one table ``[routes.<name>]`` for each route, and nothing else.

    Returns
    -------
    Mapping
        Name -> route.

    Raises
    ------
    SiteError
        If the file has faults; all of them, each with place, value and mend.
    """
    table = read(Path(path))
    faults = [
        Fault(place=key, value="", mend="a file of routes has tables [routes.<name>] only")
        for key in table
        if key != "routes"
    ]
    entries, routes = table.get("routes", {}), {}
    if not isinstance(entries, dict) or not entries:
        mend = "write one table [routes.<name>] for each route"
        faults.append(Fault(place="routes", value=written(entries), mend=mend))
        entries = {}
    for name, entry in entries.items():
        place = f"routes.{name}"
        if not isinstance(entry, dict):
            mend = f"write a table [{place}]"
            faults.append(Fault(place=place, value=written(entry), mend=mend))
            continue
        try:
            routes[name] = Route.model_validate(entry)
        except ValidationError as error:
            faults += faults_of(error, Route, table=entry, place=place)
    if faults:
        raise SiteError(shown(Path(path)), faults)
    return routes
