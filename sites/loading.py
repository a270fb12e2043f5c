"""Loading of site files, fleet routes, national limits and tariffs, with all issues together."""

from collections.abc import Iterator, Mapping
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
    machine_families,
    read_toml,
    standard_machines,
)
from sites.checks import site_issues, tariff_date_issues, time_zone_issues
from sites.schema import issues_from_pydantic, key_location, toml_value_text
from twin.equipment import Equipment
from twin.errors import IssueCode, SiteError, ValidationIssue
from twin.markets.tariffs import Tariff
from twin.reporting.national_limits import NationalLimits
from twin.site import EQUIPMENT_KINDS, Site
from twin.site_settings import FleetRoute
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
        The validated, frozen site.

    Raises
    ------
    SiteError
        If the file has issues; lists all of them.
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
    """Return a site from the table of its file."""
    try:
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            return _build(table, name, source=source)
    except FloatingPointError as error:
        raise SiteError.single(
            source,
            IssueCode.OUT_OF_RANGE,
            "numbers",
            expected="numbers without overflow",
            remedy=f"correct the number that is far too small or far too large ({error})",
        ) from error


def _build(table: TomlTable, name: str, *, source: str) -> Site:
    out_of_range = list(out_of_range_issues(table))
    issues: list[ValidationIssue] = []
    table = {key: without_out_of_range(value) for key, value in table.items()}
    machines = _machines(named_tables(table, "equipment", issues), issues)
    plain = {key: value for key, value in table.items() if key not in {"equipment", "work"}}
    values, more = apply_standards(plain, "", location="")
    work, others = apply_standards(dict(named_tables(table, "work", issues)), "", location="work")
    more |= others
    issues += more.values()
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
    values |= dict.fromkeys(
        (issue.location for issue in zone), "UTC"
    )  # so that validation continues
    try:
        site = Site.model_validate(values)
    except ValidationError as error:
        issues += issues_from_pydantic(error, Site, table=values, unfilled=more)
    else:
        issues += [] if issues or out_of_range else site_issues(site)
    reported = {issue.location for issue in out_of_range}  # their substitutes cause issues too
    issues = out_of_range + zone + [one for one in issues if one.location not in reported]
    SiteError.raise_if_any(source, issues)
    longest_first = sorted(site.work.values(), key=lambda kind: -kind.longer_than)
    return site.model_copy(update={"work": {kind.name: kind for kind in longest_first}})


def _machines(
    tables: Mapping[str, TomlTable], issues: list[ValidationIssue]
) -> dict[str, Equipment]:
    """Return the valid machines, and append the issues of the others."""
    machines = {}
    for name, entry in tables.items():
        location = f"equipment.{name}"
        kind = str(entry.get("kind", ""))
        if kind not in EQUIPMENT_KINDS:
            hint = closest_match_hint(kind, EQUIPMENT_KINDS)
            issues.append(
                IssueCode.UNKNOWN_NAME.issue(
                    key_location(location, "kind"),
                    found=toml_value_text(kind) if kind else "",
                    expected=f"one of {', '.join(sorted(EQUIPMENT_KINDS))}",
                    remedy=f"write a known kind{hint}",
                )
            )
            continue
        values, more = apply_standards(entry, kind, location=location)
        issues += more.values()
        del values["kind"]
        values = with_name(values, name, issues, location=location)
        try:
            machines[name] = EQUIPMENT_KINDS[kind].model_validate(values)
        except ValidationError as error:
            issues += issues_from_pydantic(
                error, EQUIPMENT_KINDS[kind], table=values, location=location, unfilled=more
            )
    return machines


def standard_machine(standard: str, **parameters: object) -> Equipment:
    """Return a machine of the catalogue, named after its entry.

    Parameters
    ----------
    standard
        Name of a standard machine, such as ``row_1300_kw``; ``docs/reference/standard-machines.md``
        lists them.
    **parameters
        What the entry leaves to the site, and changes, as in a site file: numbers, or texts with
        units.

    Returns
    -------
    Equipment
        The machine; its ``operate`` shows its flows.

    Raises
    ------
    SiteError
        If the catalogue has no such machine of a kind of equipment, or a parameter is missing,
        unknown or out of range; lists all issues.

    Examples
    --------
    >>> from twin import Weather
    >>> ups = standard_machine("double_conversion", rating="10 MW")
    >>> round(float(ups.operate(5.0, Weather.constant(air=20.0)).details["ups_loss"][0]), 4)
    0.1361
    """
    families = {
        name: kind
        for kind in machine_families()
        if kind in EQUIPMENT_KINDS
        for name in standard_machines(kind)
    }
    issues: list[ValidationIssue] = []
    if standard not in families:
        issues.append(
            IssueCode.UNKNOWN_NAME.issue(
                "standard",
                found=f'"{standard}"',
                expected=f"one of {', '.join(sorted(families))}",
                remedy=f"name a standard machine{closest_match_hint(standard, families)}",
            )
        )
        raise SiteError("sites/standard", issues)
    table = {**parameters, "kind": families[standard], "standard": standard}
    machines = _machines({standard: table}, issues)
    SiteError.raise_if_any(standard, issues)
    return machines[standard]


MAX_SITE_FILE_VALUE: Final = 1e12
"""Maximum absolute value of a number in a site file, in any unit."""


def named_tables(
    table: TomlTable, group: str, issues: list[ValidationIssue]
) -> dict[str, TomlTable]:
    """Return the inner tables of a group, and append issues for entries that are not tables."""
    inner = table.get(group, {})
    if not isinstance(inner, dict):
        issues.append(
            IssueCode.WRONG_TYPE.issue(
                group,
                found=toml_value_text(inner),
                expected="a table of tables",
                remedy=f"write one table [{group}.<name>] for each",
            )
        )
        return {}
    found = {}
    for name, entry in inner.items():
        if not isinstance(entry, dict):
            issues.append(
                IssueCode.WRONG_TYPE.issue(
                    key_location(group, name),
                    found=toml_value_text(entry),
                    expected="a table",
                    remedy=f"write a table [{group}.{name}]",
                )
            )
        elif not name.isidentifier():
            issues.append(
                IssueCode.INVALID_FORMAT.issue(
                    key_location(group, name),
                    expected="letters, digits and _ only, with a letter first",
                    remedy="rename the table",
                )
            )
        else:
            found[name] = entry
    return found


def with_name(
    values: object, name: str, issues: list[ValidationIssue], *, location: str = ""
) -> TomlTable:
    """Return a table with its name, and append an issue if it already has one."""
    table: TomlTable = values if isinstance(values, dict) else {}
    if "name" in table:
        owner = "table" if location else "file"
        issues.append(
            IssueCode.UNKNOWN_KEY.issue(
                key_location(location, "name"),
                found=toml_value_text(table["name"]),
                expected="no key name",
                remedy=f"remove the key: the name of the {owner} is {name}",
            )
        )
    return table | {"name": name}


def out_of_range_issues(
    value: object, location: str = "", key: str = ""
) -> Iterator[ValidationIssue]:
    """Yield an issue for each key with an impossible number; TOML allows inf and 10^900."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from out_of_range_issues(inner, f"{location}.{key}".strip("."), name)
    elif isinstance(value, list):
        found = (issue for inner in value for issue in out_of_range_issues(inner, location, key))
        yield from islice(found, 1)  # a list is one key
    elif _is_out_of_range(value):
        yield IssueCode.OUT_OF_RANGE.issue(
            key_location(location, key),
            found=toml_value_text(value),
            expected=f"a number between -{MAX_SITE_FILE_VALUE:g} and {MAX_SITE_FILE_VALUE:g}",
            remedy="correct the number",
        )


def without_out_of_range(value: object) -> object:
    """Return a value without such numbers, so that other issues can be found."""
    if isinstance(value, dict):
        return {name: without_out_of_range(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return (
            None
            if any(map(_is_out_of_range, value))
            else [without_out_of_range(inner) for inner in value]
        )
    return None if _is_out_of_range(value) else value


def _is_out_of_range(value: object) -> bool:
    return isinstance(value, int | float) and not -MAX_SITE_FILE_VALUE < value < MAX_SITE_FILE_VALUE


NATIONAL_LIMITS_DIR: Final = SITES_DIR / "duties"


def national_limits(time_zone: str) -> NationalLimits | None:
    """Return the legal limits of sites in a time zone, or None if none are declared.

    Parameters
    ----------
    time_zone
        IANA zone of the site.

    Raises
    ------
    SiteError
        If a file of the package has issues.
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
        Name of an example (``germany``, ``spain``, ``nordic``), or a path that ends in ``.toml`` to
        a file with tables ``[tariffs.<name>]``; other keys are ignored.

    Returns
    -------
    Mapping
        Name -> tariff.

    Raises
    ------
    SiteError
        If the example is unknown, or the file has issues.
    """
    path = _find_tariff_file(name)
    tables = read_toml(path).get("tariffs")
    table = {"tariffs": tables if isinstance(tables, dict) else {}}
    issues = list(out_of_range_issues(table))
    out_of_range = {issue.location for issue in issues}
    found = {}
    for key, entry in named_tables(
        {"tariffs": without_out_of_range(table["tariffs"])}, "tariffs", issues
    ).items():
        values = with_name(entry, key, issues, location=f"tariffs.{key}")
        try:
            found[key] = Tariff.model_validate(values)
        except ValidationError as error:
            more = issues_from_pydantic(error, Tariff, table=values, location=f"tariffs.{key}")
            issues += [issue for issue in more if issue.location not in out_of_range]
    issues = issues or list(tariff_date_issues(found))
    if not found and not issues:
        issues = [
            IssueCode.MISSING.issue(
                "tariffs", expected="at least one tariff", remedy="add a table [tariffs.<name>]"
            )
        ]
    SiteError.raise_if_any(display_path(path), issues)
    return found


def _find_tariff_file(name: str | Path) -> Path:
    if str(name).endswith(".toml"):
        return Path(name)
    known = sorted(path.stem for path in TARIFFS_DIR.glob("*.toml"))
    if str(name) in known:
        return TARIFFS_DIR / f"{name}.toml"
    hint = closest_match_hint(str(name), known)
    raise SiteError.single(
        str(name),
        IssueCode.UNKNOWN_NAME,
        "tariffs",
        found=f'"{name}"',
        expected=f"one of {', '.join(known)}",
        remedy=f"give a path ending in .toml, or the name of an example{hint}",
    )


def load_routes(path: str | Path) -> Mapping[str, FleetRoute]:
    """Return the fleet routes of a file.

    Parameters
    ----------
    path
        A TOML file with one table ``[routes.<name>]`` per route, and nothing else.

    Returns
    -------
    Mapping
        Name -> route.

    Raises
    ------
    SiteError
        If the file has issues; lists all of them.
    """
    table = read_toml(Path(path))
    issues = [
        IssueCode.UNKNOWN_KEY.issue(
            key, expected="only tables [routes.<name>]", remedy="remove the key"
        )
        for key in table
        if key != "routes"
    ]
    entries, routes = table.get("routes", {}), {}
    if not isinstance(entries, dict) or not entries:
        issues.append(
            IssueCode.MISSING.issue(
                "routes",
                found=toml_value_text(entries),
                expected="at least one route",
                remedy="write one table [routes.<name>] for each route",
            )
        )
        entries = {}
    for name, entry in entries.items():
        location = f"routes.{name}"
        if not isinstance(entry, dict):
            issues.append(
                IssueCode.WRONG_TYPE.issue(
                    location,
                    found=toml_value_text(entry),
                    expected="a table",
                    remedy=f"write a table [{location}]",
                )
            )
            continue
        try:
            routes[name] = FleetRoute.model_validate(entry)
        except ValidationError as error:
            issues += issues_from_pydantic(error, FleetRoute, table=entry, location=location)
    SiteError.raise_if_any(display_path(Path(path)), issues)
    return routes
