"""Routes of a fleet, read from a file, with all issues together."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from sites.catalogue import display_path, read_toml
from sites.schema import issues_from_pydantic, toml_value_text
from twin.errors import IssueCode, SiteError, ValidationIssue
from twin.site_settings import FleetRoute


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
        ValidationIssue(
            code=IssueCode.UNKNOWN_KEY,
            location=key,
            expected="only tables [routes.<name>]",
            remedy="remove the key",
        )
        for key in table
        if key != "routes"
    ]
    entries, routes = table.get("routes", {}), {}
    if not isinstance(entries, dict) or not entries:
        issues.append(
            ValidationIssue(
                code=IssueCode.MISSING,
                location="routes",
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
                ValidationIssue(
                    code=IssueCode.WRONG_TYPE,
                    location=location,
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
    if issues:
        raise SiteError(display_path(Path(path)), issues)
    return routes
