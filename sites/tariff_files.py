"""Tariffs in files of their own: the examples of this room, and what planners compare."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from sites.catalogue import ROOM, read, shown
from sites.faults import faults_of
from sites.tables import absurd, cleaned, entries, named
from sites.tariff_checks import check_dates
from twin.errors import Fault, SiteError, nearest
from twin.tariffs.declaration import Tariff

EXAMPLES: Final = ROOM / "tariffs"


def read_tariffs(name: str | Path) -> Mapping[str, Tariff]:
    """Return the tariffs of a file.

    Parameters
    ----------
    name
        Name of an example (``germany``, ``spain``, ``nordic``), or a path that ends in ``.toml``: a
        file of tables ``[tariffs.<name>]``; what else it holds is not looked at.

    Returns
    -------
    Mapping
        Name -> tariff.

    Raises
    ------
    SiteError
        If there is no such example, or the file has faults, as a site with these tariffs would.
    """
    path = _locate(name)
    tables = read(path).get("tariffs")
    table = {"tariffs": tables if isinstance(tables, dict) else {}}
    faults = list(absurd(table))
    wild = {fault.place for fault in faults}
    found = {}
    for key, entry in entries({"tariffs": cleaned(table["tariffs"])}, "tariffs", faults).items():
        values = named(entry, key, faults, place=f"tariffs.{key}")
        try:
            found[key] = Tariff.model_validate(values)
        except ValidationError as error:
            more = faults_of(error, Tariff, table=values, place=f"tariffs.{key}")
            faults += [fault for fault in more if fault.place not in wild]
    faults = faults or list(check_dates(found))
    if not found and not faults:
        faults = [Fault(place="tariffs", value="", mend="add a table [tariffs.<name>]")]
    if faults:
        raise SiteError(shown(path), faults)
    return found


def _locate(name: str | Path) -> Path:
    if str(name).endswith(".toml"):
        return Path(name)
    known = sorted(path.stem for path in EXAMPLES.glob("*.toml"))
    if str(name) in known:
        return EXAMPLES / f"{name}.toml"
    mend = f"give a path ending in .toml, or one of {', '.join(known)}{nearest(str(name), known)}"
    raise SiteError(str(name), [Fault(place="tariffs", value=f'"{name}"', mend=mend)])
