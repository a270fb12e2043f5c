"""Tariffs in files of their own: the examples of this room, and what planners compare."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from sites.catalogue import ROOM, read, shown
from sites.faults import faults_of, written
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
        If there is no such example, or the file has faults; all of them.
    """
    path = _locate(name)
    tables = read(path).get("tariffs", {})
    faults: list[Fault] = []
    found = {}
    for key, table in tables.items() if isinstance(tables, dict) else ():
        if not isinstance(table, dict):
            mend = f"write a table [tariffs.{key}]"
            faults.append(Fault(place=f"tariffs.{key}", value=written(table), mend=mend))
            continue
        values = table | {"name": key}
        try:
            found[key] = Tariff.model_validate(values)
        except ValidationError as error:
            faults += faults_of(error, Tariff, table=values, place=f"tariffs.{key}")
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
