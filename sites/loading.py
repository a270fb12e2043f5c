"""From a site file to a frozen, validated site; all faults of a file are told together.

Tables of a file as they stand there: their entries, their names, numbers that no site has.

The routes of a fleet from a TOML file: which work may move from where to where.

What countries ask of their data centres, in files of this room.

Tariffs in files of their own: the examples of this room, and what planners compare.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import ValidationError

from sites.catalogue import (
    SITES_DIR,
    TomlTable,
    apply_standards,
    display_path,
    find_site_file,
    read_toml,
)
from sites.checks import site_issues, tariff_date_issues, time_zone_issues
from sites.schema import issues_from_pydantic, key_location, toml_text
from twin.declarations import FleetRoute
from twin.equipment import Equipment
from twin.errors import SiteError, ValidationIssue
from twin.markets.tariffs import Tariff
from twin.reporting.national_limits import NationalLimits
from twin.site import EQUIPMENT_KINDS, Site
from twin.text import closest_match_hint


def load_site(site: str | Path) -> Site:
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
        If the file has faults; all of them, each with place, value and remedy.
    """
    path = find_site_file(site)
    return _declared_site(path) if path.parent == SITES_DIR else _site_of_file(path)


@cache
def _declared_site(path: Path) -> Site:
    """Return a site of this package, whose file does not change."""
    return _site_of_file(path)


def _site_of_file(path: Path) -> Site:
    return build_site(read_toml(path), path.stem, source=display_path(path))


def build_site(table: TomlTable, name: str, *, source: str) -> Site:
    """Return a site from the table that its file holds."""
    try:
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            return _build(table, name, source=source)
    except FloatingPointError as error:
        remedy = (
            f"no site has such numbers together ({error}); one is far too small or far too large"
        )
        raise SiteError(
            source, [ValidationIssue(location="numbers", found="", remedy=remedy)]
        ) from error


def _build(table: TomlTable, name: str, *, source: str) -> Site:
    wild = list(out_of_range_issues(table))
    issues: list[ValidationIssue] = []
    table = {key: without_out_of_range(value) for key, value in table.items()}
    machines = _machines(named_tables(table, "equipment", issues), issues)
    plain = {key: value for key, value in table.items() if key not in {"equipment", "work"}}
    values, more = apply_standards(plain, "", location="")
    work, others = apply_standards(dict(named_tables(table, "work", issues)), "", location="work")
    issues += more + others
    kinds = {
        kind: with_name(entry, kind, issues, location=f"work.{kind}")
        for kind, entry in work.items()
    }
    values = with_name(values, name, issues) | {"equipment": machines, "work": kinds}
    for group in {"reserves", "tariffs"} & values.keys():
        values[group] = {
            one: with_name(entry, one, issues, location=f"{group}.{one}")
            for one, entry in named_tables(values, group, issues).items()
        }
    zone = [*time_zone_issues(values), *time_zone_issues(values, "market_time_zone")]
    values |= dict.fromkeys((fault.location for fault in zone), "UTC")  # to look at the rest
    try:
        site = Site.model_validate(values)
    except ValidationError as error:
        issues += issues_from_pydantic(error, Site, table=values, unfilled=_unfilled(issues))
    else:
        issues += [] if issues or wild else site_issues(site)
    told = {fault.location for fault in wild}  # what stands for them is a fault there too
    issues = wild + zone + [fault for fault in issues if fault.location not in told]
    if issues:
        raise SiteError(source, issues)
    longest_first = sorted(site.work.values(), key=lambda kind: -kind.longer_than)
    return site.model_copy(update={"work": {kind.name: kind for kind in longest_first}})


def _machines(
    tables: Mapping[str, TomlTable], issues: list[ValidationIssue]
) -> dict[str, Equipment]:
    """Return the machines that can be built, and note the faults of the others."""
    machines = {}
    for name, entry in tables.items():
        place = f"equipment.{name}"
        kind = str(entry.get("kind", ""))
        if kind not in EQUIPMENT_KINDS:
            hint = closest_match_hint(kind, EQUIPMENT_KINDS)
            remedy = f"there is {', '.join(sorted(EQUIPMENT_KINDS))}{hint}"
            value = toml_text(kind) if kind else ""
            issues.append(
                ValidationIssue(location=key_location(place, "kind"), found=value, remedy=remedy)
            )
            continue
        values, more = apply_standards(entry, kind, location=place)
        issues += more
        del values["kind"]
        values = with_name(values, name, issues, location=place)
        try:
            machines[name] = EQUIPMENT_KINDS[kind].model_validate(values)
        except ValidationError as error:
            lacking = _unfilled(more)
            issues += issues_from_pydantic(
                error, EQUIPMENT_KINDS[kind], table=values, location=place, unfilled=lacking
            )
    return machines


def _unfilled(issues: Sequence[ValidationIssue]) -> list[str]:
    """Return the tables whose standard nobody knows."""
    ending = "] standard"
    return [f.location[1 : -len(ending)] for f in issues if f.location.endswith(ending)]


MAX_ABSOLUTE_VALUE: Final = 1e12
"""No number of a site is greater, in whatever unit."""


def named_tables(
    table: TomlTable, group: str, issues: list[ValidationIssue]
) -> dict[str, TomlTable]:
    """Return the inner tables of a group, and note what is none."""
    inner = table.get(group, {})
    if not isinstance(inner, dict):
        remedy = f"write one table [{group}.<name>] for each"
        issues.append(ValidationIssue(location=group, found=toml_text(inner), remedy=remedy))
        return {}
    found = {}
    for name, entry in inner.items():
        if not isinstance(entry, dict):
            remedy = f"write a table [{group}.{name}]"
            issues.append(
                ValidationIssue(
                    location=key_location(group, name), found=toml_text(entry), remedy=remedy
                )
            )
        elif not name.isidentifier():
            remedy = "a name has letters, digits and _ only, and begins with a letter"
            issues.append(
                ValidationIssue(location=key_location(group, name), found="", remedy=remedy)
            )
        else:
            found[name] = entry
    return found


def with_name(
    values: object, name: str, issues: list[ValidationIssue], *, location: str = ""
) -> TomlTable:
    """Return a table with its name, and note a fault if it names itself."""
    table: TomlTable = values if isinstance(values, dict) else {}
    if "name" in table:
        owner = "table" if location else "file"
        remedy = f"remove the key; the name is {name}, as the {owner} is called"
        issues.append(
            ValidationIssue(
                location=key_location(location, "name"),
                found=toml_text(table["name"]),
                remedy=remedy,
            )
        )
    return table | {"name": name}


def out_of_range_issues(
    value: object, location: str = "", key: str = ""
) -> Iterator[ValidationIssue]:
    """Yield a fault for each key with a number that no site can have; TOML knows inf and 10^900."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from out_of_range_issues(inner, f"{location}.{key}".strip("."), name)
    elif isinstance(value, list):
        found = (fault for inner in value for fault in out_of_range_issues(inner, location, key))
        yield from islice(found, 1)  # a list has one key, however many numbers it has
    elif _is_absurd(value):
        remedy = f"every number must be between -{MAX_ABSOLUTE_VALUE:g} and {MAX_ABSOLUTE_VALUE:g}"
        yield ValidationIssue(
            location=key_location(location, key), found=toml_text(value), remedy=remedy
        )


def without_out_of_range(value: object) -> object:
    """Return a value without absurd numbers, so that the other faults can be told too."""
    if isinstance(value, dict):
        return {name: without_out_of_range(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return (
            None
            if any(map(_is_absurd, value))
            else [without_out_of_range(inner) for inner in value]
        )
    return None if _is_absurd(value) else value


def _is_absurd(value: object) -> bool:
    return isinstance(value, int | float) and not -MAX_ABSOLUTE_VALUE < value < MAX_ABSOLUTE_VALUE


def load_routes(path: str | Path) -> Mapping[str, FleetRoute]:
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
        If the file has faults; all of them, each with place, value and remedy.
    """
    table = read_toml(Path(path))
    issues = [
        ValidationIssue(
            location=key, found="", remedy="a file of routes has tables [routes.<name>] only"
        )
        for key in table
        if key != "routes"
    ]
    entries, routes = table.get("routes", {}), {}
    if not isinstance(entries, dict) or not entries:
        remedy = "write one table [routes.<name>] for each route"
        issues.append(ValidationIssue(location="routes", found=toml_text(entries), remedy=remedy))
        entries = {}
    for name, entry in entries.items():
        place = f"routes.{name}"
        if not isinstance(entry, dict):
            remedy = f"write a table [{place}]"
            issues.append(ValidationIssue(location=place, found=toml_text(entry), remedy=remedy))
            continue
        try:
            routes[name] = FleetRoute.model_validate(entry)
        except ValidationError as error:
            issues += issues_from_pydantic(error, FleetRoute, table=entry, location=place)
    if issues:
        raise SiteError(display_path(Path(path)), issues)
    return routes


NATIONAL_LIMITS_DIR: Final = SITES_DIR / "duties"


def national_limits(time_zone: str) -> NationalLimits | None:
    """Return the duties of sites in a time zone, None where the house knows of none.

    Parameters
    ----------
    time_zone
        IANA zone of the site.

    Raises
    ------
    SiteError
        If a file of this room has faults.
    """
    for path in sorted(NATIONAL_LIMITS_DIR.glob("*.toml")):
        table = read_toml(path)
        try:
            found = NationalLimits.model_validate(table)
        except ValidationError as error:
            issues = issues_from_pydantic(error, NationalLimits, table=table, location="duties")
            raise SiteError(display_path(path), issues) from error
        if time_zone in found.time_zones:
            return found
    return None


TARIFFS_DIR: Final = SITES_DIR / "tariffs"


def load_tariffs(name: str | Path) -> Mapping[str, Tariff]:
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
    tables = read_toml(path).get("tariffs")
    table = {"tariffs": tables if isinstance(tables, dict) else {}}
    issues = list(out_of_range_issues(table))
    wild = {fault.location for fault in issues}
    found = {}
    for key, entry in named_tables(
        {"tariffs": without_out_of_range(table["tariffs"])}, "tariffs", issues
    ).items():
        values = with_name(entry, key, issues, location=f"tariffs.{key}")
        try:
            found[key] = Tariff.model_validate(values)
        except ValidationError as error:
            more = issues_from_pydantic(error, Tariff, table=values, location=f"tariffs.{key}")
            issues += [fault for fault in more if fault.location not in wild]
    issues = issues or list(tariff_date_issues(found))
    if not found and not issues:
        issues = [
            ValidationIssue(location="tariffs", found="", remedy="add a table [tariffs.<name>]")
        ]
    if issues:
        raise SiteError(display_path(path), issues)
    return found


def _locate(name: str | Path) -> Path:
    if str(name).endswith(".toml"):
        return Path(name)
    known = sorted(path.stem for path in TARIFFS_DIR.glob("*.toml"))
    if str(name) in known:
        return TARIFFS_DIR / f"{name}.toml"
    hint = closest_match_hint(str(name), known)
    remedy = f"give a path ending in .toml, or one of {', '.join(known)}{hint}"
    raise SiteError(
        str(name), [ValidationIssue(location="tariffs", found=f'"{name}"', remedy=remedy)]
    )
