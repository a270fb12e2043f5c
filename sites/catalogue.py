"""The TOML files of this package: declared sites, and standard machines with their sources."""

import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from twin.errors import IssueCode, SiteError, ValidationIssue
from twin.text import closest_match_hint

SitePurpose = Literal["decision", "validation"]

SITES_DIR: Final = Path(__file__).parent
STANDARD_DIR: Final = SITES_DIR / "standard"
DATA_DIR: Final = SITES_DIR / "data"
SITE_DIRS: Final[dict[SitePurpose, Path]] = {
    "decision": SITES_DIR,
    "validation": SITES_DIR / "validation",
}
"""Folders of the declared sites, by purpose."""

MAX_SITE_FILE_BYTES: Final = 1_000_000
"""Maximum size of a site file. [bytes]"""
MAX_LINE_BYTES: Final = 1_000
"""Maximum length of a line: the parser's time is quadratic in a dotted key's length. [bytes]"""

MAX_NESTING: Final = 8
"""Maximum nesting of tables and lists, as of `hours` in `tariffs.x.peaks.windows`. [1]"""

DESCRIPTIVE_KEYS: Final = ("source", "note")
"""Keys of a standard machine that describe it and are not parameters."""

_AT: Final = re.compile(r"at line (\d+)")
"""Line number in the parser's message."""

_BARE: Final = re.compile(r"""\s*([\w.-]+)\s*=\s*([^\s"'\[{#][^"'#]*?)\s*(?:#.*)?""")
"""A key and a value without quotes or brackets."""

_BACKSLASH: Final = re.compile(r'"[^"]*\\[^"]*"')
"""A backslash in double quotes, where it begins an escape sequence."""

TomlTable = dict[str, object]
"""A TOML table before validation."""


def site_names(purpose: SitePurpose = "decision") -> tuple[str, ...]:
    """Return the names of the declared sites, sorted.

    Parameters
    ----------
    purpose
        ``decision`` for the reference sites of plans, ``validation`` for existing plants with
        published data to compare.
    """
    return tuple(sorted(path.stem for path in SITE_DIRS[purpose].glob("*.toml")))


def series_file(name: str) -> Path:
    """Return the file of a supplied synthetic series; see ``sites/data/README.md``.

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
        If the series is unknown.
    """
    files = {path.stem.removeprefix("synthetic_"): path for path in DATA_DIR.glob("synthetic_*")}
    if name in files:
        return files[name]
    raise SiteError.single(
        "sites/data",
        IssueCode.UNKNOWN_NAME,
        "series",
        found=f'"{name}"',
        expected=f"one of {', '.join(sorted(files))}",
        remedy=f"name a supplied series{closest_match_hint(name, files)}",
    )


def find_site_file(site: str | Path) -> Path:
    """Return the file of a site."""
    if str(site).endswith(".toml"):
        return Path(site)
    known = {name: folder for purpose, folder in SITE_DIRS.items() for name in site_names(purpose)}
    if str(site) in known:
        return known[str(site)] / f"{site}.toml"
    remedy = "give a path ending in .toml, or the name of a declared site"
    raise SiteError.single(
        str(site),
        IssueCode.UNKNOWN_NAME,
        "site",
        found=f'"{site}"',
        expected=f"one of {', '.join(known)}",
        remedy=remedy + closest_match_hint(str(site), known),
    )


def is_shipped(site: str | Path) -> bool:
    """Return whether the file of a site comes with this package."""
    folder = find_site_file(site).resolve().parent
    return any(folder == one.resolve() for one in SITE_DIRS.values())


def read_toml(path: Path) -> TomlTable:
    """Return the table of a TOML file."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SITE_FILE_BYTES + 1)
    except OSError as error:
        remedy = f"make the file readable ({error.strerror})"
        raise _file_error(path, "file", remedy, IssueCode.FILE_ERROR) from error
    if len(content) > MAX_SITE_FILE_BYTES:
        remedy = f"shorten the file to at most {MAX_SITE_FILE_BYTES:,} bytes"
        raise _file_error(path, "file", remedy, IssueCode.TOO_LARGE)
    for number, text in enumerate(content.splitlines(), start=1):
        if len(text) > MAX_LINE_BYTES:
            remedy = f"shorten the line to at most {MAX_LINE_BYTES:,} bytes"
            raise _file_error(path, f"line {number}", remedy, IssueCode.TOO_LARGE)
    try:
        table = tomllib.loads(content.decode("utf-8-sig"))
        too_deep = _keys_of_too_deep(table, MAX_NESTING)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _file_error(path, f"line {line}", "save the file as UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        remedy = f"correct the syntax: {error}{_hint(content, error)}"
        raise _file_error(path, "TOML", remedy) from error
    except (RecursionError, ValueError) as error:  # thousands of brackets
        raise _file_error(path, "TOML", "remove nested tables and lists") from error
    if too_deep is not None:
        remedy = f"remove tables and lists nested deeper than {MAX_NESTING}"
        raise _file_error(path, f"[{'.'.join(too_deep)}]", remedy)
    return table


@lru_cache
def standard_machines(family: str) -> dict[str, TomlTable]:
    """Return the standard machines of a family by name; empty if it has none."""
    path = STANDARD_DIR / f"{family}.toml"
    table = read_toml(path) if family in machine_families() else {}
    return {name: entry for name, entry in table.items() if isinstance(entry, dict)}


def machine_families() -> tuple[str, ...]:
    """Return the families of standard machines, sorted."""
    return tuple(sorted(path.stem for path in STANDARD_DIR.glob("*.toml")))


def apply_standards(
    table: TomlTable, family: str, *, location: str
) -> tuple[TomlTable, dict[str, ValidationIssue]]:
    """Return a table filled with its standard machines' parameters, and issues of unknown ones.

    The issues are by the location of the table that names the unknown machine.
    """
    family = str(table.get("kind", family))
    own = {key: value for key, value in table.items() if key != "standard"}
    issues: dict[str, ValidationIssue] = {}
    if "standard" in table:
        name, known = table["standard"], standard_machines(family)
        entry = known.get(name) if isinstance(name, str) else None
        if entry is None:
            issues[location] = IssueCode.UNKNOWN_NAME.issue(
                f"[{location}] standard",
                found=f'"{name}"',
                expected=f"one of {', '.join(sorted(known))}" if known else "no standard",
                remedy=f"name a standard {family}{closest_match_hint(str(name), known)}",
            )
        shared = {k: v for k, v in (entry or {}).items() if k not in DESCRIPTIVE_KEYS}
        own = _merged(shared, own)
    for key, value in own.items():
        if isinstance(value, dict):
            own[key], more = apply_standards(
                value, key, location=f"{location}.{key}".removeprefix(".")
            )
            issues |= more
    return own, issues


def _merged(entry: TomlTable, own: TomlTable) -> TomlTable:
    """Return an entry overridden by the site's own values, table by table."""
    merged = dict(entry)
    for key, value in own.items():
        standard = merged.get(key)
        if isinstance(value, dict) and isinstance(standard, dict):
            merged[key] = _merged(standard, value)
        else:
            merged[key] = value
    return merged


def _keys_of_too_deep(value: object, levels: int) -> list[str] | None:
    """Return the keys to a value that is nested too deep, or None."""
    if not isinstance(value, dict | list):
        return None
    if levels == 0:
        return []
    inside = value.items() if isinstance(value, dict) else (("", one) for one in value)
    for key, one in inside:
        found = _keys_of_too_deep(one, levels - 1)
        if found is not None:
            return [key, *found] if key else found
    return None


def _hint(content: bytes, error: tomllib.TOMLDecodeError) -> str:
    """Return a hint for a line that the parser refuses, if the line shows the cause."""
    at = _AT.search(str(error))
    if at is None:
        return ""
    line = content.decode("utf-8-sig").split("\n")[int(at[1]) - 1]
    if _BACKSLASH.search(line):
        return r"; write / instead of \ in double quotes, or use single quotes"
    bare = _BARE.fullmatch(line.rstrip())
    if bare is None or _is_value(bare[2]):
        return ""
    return f'; write {bare[1]} = "{bare[2]}": texts and numbers with units need quotes'


def _is_value(text: str) -> bool:
    """Return whether a text is a valid TOML value."""
    try:
        tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return False
    return True


def _file_error(
    path: Path, location: str, remedy: str, code: IssueCode = IssueCode.INVALID_FORMAT
) -> SiteError:
    return SiteError.single(
        display_path(path), code, location, expected="a TOML file in UTF-8", remedy=remedy
    )


def display_path(path: Path) -> str:
    """Return the path of a site file for messages; relative for files of the package."""
    return f"sites/{path.relative_to(SITES_DIR)}" if path.is_relative_to(SITES_DIR) else str(path)
