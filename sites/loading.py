"""From a site file to a frozen, validated site; all faults of a file are told together."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import ValidationError

from sites.catalogue import Table, complete, locate, read, shown
from sites.checks import check, check_time_zone
from sites.faults import faults_of, spot, written
from twin.equipment import KINDS, Equipment
from twin.errors import Fault, SiteError, nearest
from twin.site import Site

GREATEST: Final = 1e12
"""No number of a site is greater, in whatever unit."""


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
    absurd = list(_absurd(table))
    faults: list[Fault] = []
    table = {key: _cleaned(value) for key, value in table.items()}
    machines = _machines(_entries(table, "equipment", faults), faults)
    plain = {key: value for key, value in table.items() if key not in {"equipment", "work"}}
    values, more = complete(plain, "", place="")
    work, others = complete(dict(_entries(table, "work", faults)), "", place="work")
    faults += more + others
    kinds = {
        kind: _named(entry, kind, faults, place=f"work.{kind}") for kind, entry in work.items()
    }
    values = _named(values, name, faults) | {"equipment": machines, "work": kinds}
    for group in {"reserves", "tariffs"} & values.keys():
        values[group] = {
            one: _named(entry, one, faults, place=f"{group}.{one}")
            for one, entry in _entries(values, group, faults).items()
        }
    zone = [*check_time_zone(values), *check_time_zone(values, "market_time_zone")]
    values |= dict.fromkeys((fault.place for fault in zone), "UTC")  # to look at the rest
    try:
        site = Site.model_validate(values)
    except ValidationError as error:
        faults += faults_of(error, Site, table=values, unfilled=_unfilled(faults))
    else:
        faults += [] if faults or absurd else check(site)
    told = {fault.place for fault in absurd}  # what stands for them is a fault there too
    faults = absurd + zone + [fault for fault in faults if fault.place not in told]
    if faults:
        raise SiteError(source, faults)
    longest_first = sorted(site.work.values(), key=lambda kind: -kind.longer_than)
    return site.model_copy(update={"work": {kind.name: kind for kind in longest_first}})


def _entries(table: Table, group: str, faults: list[Fault]) -> dict[str, Table]:
    """Return the inner tables of a group, and note what is none."""
    inner = table.get(group, {})
    if not isinstance(inner, dict):
        mend = f"write one table [{group}.<name>] for each"
        faults.append(Fault(place=group, value=written(inner), mend=mend))
        return {}
    entries = {}
    for name, entry in inner.items():
        if not isinstance(entry, dict):
            mend = f"write a table [{group}.{name}]"
            faults.append(Fault(place=spot(group, name), value=written(entry), mend=mend))
        elif not name.isidentifier():
            mend = "a name has letters, digits and _ only, and begins with a letter"
            faults.append(Fault(place=spot(group, name), value="", mend=mend))
        else:
            entries[name] = entry
    return entries


def _machines(entries: Mapping[str, Table], faults: list[Fault]) -> dict[str, Equipment]:
    """Return the machines that can be built, and note the faults of the others."""
    machines = {}
    for name, entry in entries.items():
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
        values = _named(values, name, faults, place=place)
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


def _named(values: object, name: str, faults: list[Fault], *, place: str = "") -> Table:
    """Return a table with its name, and note a fault if it names itself."""
    table: Table = values if isinstance(values, dict) else {}
    if "name" in table:
        mend = (
            f"remove the key; the name is {name}, as the {'table' if place else 'file'} is called"
        )
        faults.append(Fault(place=spot(place, "name"), value=written(table["name"]), mend=mend))
    return table | {"name": name}


def _absurd(value: object, place: str = "", key: str = "") -> Iterator[Fault]:
    """Yield a fault for each key with a number that no site can have; TOML knows inf and 10^900."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _absurd(inner, f"{place}.{key}".strip("."), name)
    elif isinstance(value, list):
        found = (fault for inner in value for fault in _absurd(inner, place, key))
        yield from islice(found, 1)  # a list has one key, however many numbers it has
    elif _is_absurd(value):
        mend = f"every number must be between -{GREATEST:g} and {GREATEST:g}"
        yield Fault(place=spot(place, key), value=written(value), mend=mend)


def _cleaned(value: object) -> object:
    """Return a value without absurd numbers, so that the other faults can be told too."""
    if isinstance(value, dict):
        return {name: _cleaned(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return None if any(map(_is_absurd, value)) else [_cleaned(inner) for inner in value]
    return None if _is_absurd(value) else value


def _is_absurd(value: object) -> bool:
    return isinstance(value, int | float) and not -GREATEST < value < GREATEST
