"""The TOML files of this room: declared sites, and standard machines with their sources."""

import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from twin.errors import SiteError, ValidationIssue
from twin.text import closest_match_hint

SitePurpose = Literal["decision", "validation"]

SITES_DIR: Final = Path(__file__).parent
STANDARD_DIR: Final = SITES_DIR / "standard"
DATA_DIR: Final = SITES_DIR / "data"
SITE_DIRS: Final[dict[SitePurpose, Path]] = {
    "decision": SITES_DIR,
    "validation": SITES_DIR / "validation",
}
"""Folders of the declared sites, by what the sites are for."""

MAX_FILE_BYTES: Final = 1_000_000
"""A site file longer than this is not one. [bytes]"""
MAX_LINE_BYTES: Final = 1_000
"""The parser takes time with the square of a dotted key's length. [bytes]"""

MAX_NESTING: Final = 8
"""So deep may tables and lists stand, as `hours` in `tariffs.x.peaks.windows` does."""

DESCRIPTIVE_KEYS: Final = ("source", "note")
"""Keys of a standard machine that tell about it and are no parameters."""

_AT: Final = re.compile(r"at line (\d+)")
"""How the parser tells the line."""

_BARE: Final = re.compile(r"""\s*([\w.-]+)\s*=\s*([^\s"'\[{#][^"'#]*?)\s*(?:#.*)?""")
"""A key and a value without quotes or brackets."""

_BACKSLASH: Final = re.compile(r'"[^"]*\\[^"]*"')
"""A backslash in double quotes, where it begins an escape."""

TomlTable = dict[str, object]
"""What a TOML table holds, unchecked."""


def site_names(purpose: SitePurpose = "decision") -> tuple[str, ...]:
    """Return the names of the declared sites, sorted.

    Parameters
    ----------
    purpose
        ``decision`` for the reference sites that plans are made for, ``validation`` for plants that
        exist, of which enough is published to hold the twin to.
    """
    return tuple(sorted(path.stem for path in SITE_DIRS[purpose].glob("*.toml")))


def series_file(name: str) -> Path:
    """Return the file of a synthetic series that the house ships; see ``sites/data/README.md``.

    Parameters
    ----------
    name
        ``prices`` (with carbon), ``weather`` or ``jobs``.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    SiteError
        If there is no such series.
    """
    files = {path.stem.removeprefix("synthetic_"): path for path in DATA_DIR.glob("synthetic_*")}
    if name in files:
        return files[name]
    remedy = f"there are {', '.join(sorted(files))}{closest_match_hint(name, files)}"
    raise SiteError(
        "sites/data", [ValidationIssue(location="series", found=f'"{name}"', remedy=remedy)]
    )


def find_site_file(site: str | Path) -> Path:
    """Return the file of a site."""
    if str(site).endswith(".toml"):
        return Path(site)
    known = {name: home for purpose, home in SITE_DIRS.items() for name in site_names(purpose)}
    if str(site) in known:
        return known[str(site)] / f"{site}.toml"
    remedy = f"give a path ending in .toml, or one of {', '.join(known)}"
    issue = ValidationIssue(
        location="site", found=f'"{site}"', remedy=remedy + closest_match_hint(str(site), known)
    )
    raise SiteError(str(site), [issue])


def read_toml(path: Path) -> TomlTable:
    """Return the table that a TOML file holds."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _refused(path, "file", f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise _refused(path, "file", f"a site file has at most {MAX_FILE_BYTES:,} bytes")
    for number, text in enumerate(content.splitlines(), start=1):
        if len(text) > MAX_LINE_BYTES:
            raise _refused(path, f"line {number}", f"a line has at most {MAX_LINE_BYTES:,} bytes")
    try:
        table = tomllib.loads(content.decode("utf-8-sig"))
        deep = _too_deep(table, MAX_NESTING)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _refused(path, f"line {line}", "save the file as UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise _refused(path, "TOML", f"{error}{_hint(content, error)}") from error
    except (RecursionError, ValueError) as error:  # thousands of brackets
        raise _refused(path, "TOML", "nested too deep") from error
    if deep is not None:
        remedy = f"tables and lists are nested deeper than {MAX_NESTING}; nothing of a site is"
        raise _refused(path, f"[{'.'.join(deep)}]", remedy)
    return table


@lru_cache
def standard_machines(family: str) -> dict[str, TomlTable]:
    """Return the standard machines of a family by name; empty if there are none."""
    path = STANDARD_DIR / f"{family}.toml"
    table = read_toml(path) if family in machine_families() else {}
    return {name: entry for name, entry in table.items() if isinstance(entry, dict)}


def machine_families() -> tuple[str, ...]:
    """Return the families of which there are standard machines, sorted."""
    return tuple(sorted(path.stem for path in STANDARD_DIR.glob("*.toml")))


def apply_standards(
    table: TomlTable, family: str, *, location: str
) -> tuple[TomlTable, list[ValidationIssue]]:
    """Fill in the parameters of the standard machines that a table and its inner tables name."""
    family = str(table.get("kind", family))
    own = {key: value for key, value in table.items() if key != "standard"}
    issues: list[ValidationIssue] = []
    if "standard" in table:
        entry, issues = _entry(table["standard"], family, location)
        own = _over(entry, own)
    for key, value in own.items():
        if isinstance(value, dict):
            own[key], more = apply_standards(
                value, key, location=f"{location}.{key}".removeprefix(".")
            )
            issues += more
    return own, issues


def _entry(name: object, family: str, place: str) -> tuple[TomlTable, list[ValidationIssue]]:
    known = standard_machines(family)
    if isinstance(name, str) and name in known:
        return {k: v for k, v in known[name].items() if k not in DESCRIPTIVE_KEYS}, []
    listed = f"there are {', '.join(sorted(known))}" if known else "there is none"
    remedy = f"no such standard {family}; {listed}{closest_match_hint(str(name), known)}"
    return {}, [ValidationIssue(location=f"[{place}] standard", found=f'"{name}"', remedy=remedy)]


def _over(entry: TomlTable, own: TomlTable) -> TomlTable:
    """Return the entry with the site's own values over it, table by table."""
    merged = dict(entry)
    for key, value in own.items():
        under = merged.get(key)
        if isinstance(value, dict) and isinstance(under, dict):
            merged[key] = _over(under, value)
        else:
            merged[key] = value
    return merged


def _too_deep(value: object, room: int) -> list[str] | None:
    """Return the keys that lead to what stands too deep; None if nothing does."""
    if not isinstance(value, dict | list):
        return None
    if room == 0:
        return []
    inside = value.items() if isinstance(value, dict) else (("", one) for one in value)
    for key, one in inside:
        found = _too_deep(one, room - 1)
        if found is not None:
            return [key, *found] if key else found
    return None


def _hint(content: bytes, error: tomllib.TOMLDecodeError) -> str:
    """Return how to remedy a line that the parser refuses, if it can be told from the line."""
    at = _AT.search(str(error))
    if at is None:
        return ""
    line = content.decode("utf-8-sig").split("\n")[int(at[1]) - 1]
    if _BACKSLASH.search(line):
        return r"; in double quotes write / for \, or write the text in single quotes"
    bare = _BARE.fullmatch(line.rstrip())
    if bare is None or _is_value(bare[2]):
        return ""
    return f'; texts and numbers with units stand in quotes: write {bare[1]} = "{bare[2]}"'


def _is_value(text: str) -> bool:
    """Return whether a text is a value of TOML as it stands."""
    try:
        tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return False
    return True


def _refused(path: Path, place: str, remedy: str) -> SiteError:
    return SiteError(display_path(path), [ValidationIssue(location=place, found="", remedy=remedy)])


def display_path(path: Path) -> str:
    """Return how messages name a file of a site: those of the house from the room on."""
    return f"sites/{path.relative_to(SITES_DIR)}" if path.is_relative_to(SITES_DIR) else str(path)
