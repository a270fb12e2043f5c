"""From a site file to a frozen, validated site; all faults of a file are told together."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from sites.catalogue import Table, complete, locate, read, shown
from sites.checks import check, check_time_zone
from sites.faults import faults_of, spot, written
from sites.tables import absurd, cleaned, entries, named
from twin.equipment import KINDS, Equipment
from twin.errors import Fault, SiteError, nearest
from twin.site import Site


def load(site: str | Path) -> Site:
    """Return a site from its file.

    Parameters
    ----------
    site
        Name of a declared site, or a path that ends in ``.toml``.

    Returns
    -------
    Site
        Validated and frozen.

    Raises
    ------
    SiteError
        If the file has faults; all of them, each with place, value and mend.
    """
    path = locate(site)
    return build(read(path), path.stem, source=shown(path))


def build(table: Table, name: str, *, source: str) -> Site:
    """Return a site from the table that its file holds.

    Parameters
    ----------
    table
        Content of the file.
    name
        Name of the site.
    source
        What messages call the file.

    Returns
    -------
    Site
        Validated and frozen.

    Raises
    ------
    SiteError
        If the table has faults; all of them.
    """
    try:
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            return _build(table, name, source=source)
    except FloatingPointError as error:
        mend = f"no site has such numbers together ({error}); one is far too small or far too large"
        raise SiteError(source, [Fault(place="numbers", value="", mend=mend)]) from error


def _build(table: Table, name: str, *, source: str) -> Site:
    wild = list(absurd(table))
    faults: list[Fault] = []
    table = {key: cleaned(value) for key, value in table.items()}
    machines = _machines(entries(table, "equipment", faults), faults)
    plain = {key: value for key, value in table.items() if key not in {"equipment", "work"}}
    values, more = complete(plain, "", place="")
    work, others = complete(dict(entries(table, "work", faults)), "", place="work")
    faults += more + others
    kinds = {kind: named(entry, kind, faults, place=f"work.{kind}") for kind, entry in work.items()}
    values = named(values, name, faults) | {"equipment": machines, "work": kinds}
    for group in {"reserves", "tariffs"} & values.keys():
        values[group] = {
            one: named(entry, one, faults, place=f"{group}.{one}")
            for one, entry in entries(values, group, faults).items()
        }
    zone = [*check_time_zone(values), *check_time_zone(values, "market_time_zone")]
    values |= dict.fromkeys((fault.place for fault in zone), "UTC")  # to look at the rest
    try:
        site = Site.model_validate(values)
    except ValidationError as error:
        faults += faults_of(error, Site, table=values, unfilled=_unfilled(faults))
    else:
        faults += [] if faults or wild else check(site)
    told = {fault.place for fault in wild}  # what stands for them is a fault there too
    faults = wild + zone + [fault for fault in faults if fault.place not in told]
    if faults:
        raise SiteError(source, faults)
    longest_first = sorted(site.work.values(), key=lambda kind: -kind.longer_than)
    return site.model_copy(update={"work": {kind.name: kind for kind in longest_first}})


def _machines(tables: Mapping[str, Table], faults: list[Fault]) -> dict[str, Equipment]:
    """Return the machines that can be built, and note the faults of the others."""
    machines = {}
    for name, entry in tables.items():
        place = f"equipment.{name}"
        kind = str(entry.get("kind", ""))
        if kind not in KINDS:
            mend = f"there is {', '.join(sorted(KINDS))}{nearest(kind, KINDS)}"
            value = written(kind) if kind else ""
            faults.append(Fault(place=spot(place, "kind"), value=value, mend=mend))
            continue
        values, more = complete(entry, kind, place=place)
        faults += more
        del values["kind"]
        values = named(values, name, faults, place=place)
        try:
            machines[name] = KINDS[kind].model_validate(values)
        except ValidationError as error:
            lacking = _unfilled(more)
            faults += faults_of(error, KINDS[kind], table=values, place=place, unfilled=lacking)
    return machines


def _unfilled(faults: Sequence[Fault]) -> list[str]:
    """Return the tables whose standard nobody knows."""
    ending = "] standard"
    return [f.place[1 : -len(ending)] for f in faults if f.place.endswith(ending)]
