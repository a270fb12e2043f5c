"""Read a file of comma-separated values as texts that still know where they stood."""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from twin.errors import SeriesError, ValidationIssue

BLANK_CELLS: Final = frozenset({"", "nan", "na", "n/a", "null", "none", "-"})
"""Cells that say "no value here", in lower case."""

_GROUPED: Final = r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+(?:,\d*)?"
"""A number whose dots can only stand between thousands."""

_MEND: Final = "write a finite number, or leave the cell blank"
_AS_OTHERS: Final = (
    "write a number with a decimal {}, as others of the column, or leave the cell blank"
)

_WIDE: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""How a file of UTF-16 begins, such as the Unicode text of Excel."""

_NUL: Final = "\0"
"""Half of every letter of UTF-16 that is read as another encoding; no text has it."""

_OTHERS: Final = {
    "{": "JSON",
    "[": "JSON",
    "<": "XML",
    "LOCATION,": "weather (EPW)",
    "#1": "weather (.mos)",
}
"""How files begin that are no tables, and what they are."""

_SHOWN: Final = 5

_QUOTE: Final = '"'

_WIDTH: Final = 40
"""Letters of a row that a fault shows."""


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """The columns of one file.

    Attributes
    ----------
    source
        Name of the file, as faults tell it.
    columns
        Texts of each column, under its header as written.
    lines
        Line where each row begins in the file; the header stands in line 1.
    decimal
        The decimal sign, "." or ",".
    """

    source: str
    columns: dict[str, list[str]]
    lines: np.ndarray
    decimal: str

    def column_error(self, remedy: str) -> SeriesError:
        """Return the error of a file whose columns are not what its reader wants."""
        shown = ", ".join(self.columns)
        fault = ValidationIssue(location=f"{self.source}, columns", found=shown, remedy=remedy)
        return SeriesError(self.source, [fault])


def read_text(path: str | Path) -> str:
    """Return the text of a file, without a byte-order mark.

    Parameters
    ----------
    path
        The file; UTF-8, UTF-16 with a byte-order mark, or Windows-1252, in which Excel writes a
        CSV with its euro sign, where it is neither.

    Returns
    -------
    str
        Its text.

    Raises
    ------
    SeriesError
        If the file cannot be read, is no text or holds nothing.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        fault = ValidationIssue(
            location=str(path), found=str(error.strerror), remedy="give a file that is there"
        )
        raise SeriesError(path.name, [fault]) from error
    try:
        text = raw.decode("utf-16" if raw.startswith(_WIDE) else "utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    if _NUL in text:
        remedy = "is no text that can be read; save it as CSV, in UTF-8"
        raise SeriesError(path.name, [ValidationIssue(location=path.name, found="", remedy=remedy)])
    if not text.strip():
        raise SeriesError(
            path.name, [ValidationIssue(location=path.name, found="", remedy="the file is empty")]
        )
    return text


def read_table(path: str | Path) -> TextTable:
    """Return the columns of a separated file; comma, semicolon or tab, as its header has it.

    Parameters
    ----------
    path
        The file. Behind semicolons or tabs a comma is the decimal sign.

    Returns
    -------
    TextTable
        All columns as texts.

    Raises
    ------
    SeriesError
        If it is another kind of file, a row is shorter or longer than the header, a quote stays
        open, or the header names a column twice.
    """
    source = Path(path).name
    text = read_text(path)
    _refuse_other(source, text)
    first = text.lstrip("\r\n").split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    rows, lines = _rows(source, text, delimiter)
    if not rows:
        remedy = "there is nothing but separators; give a file with a header and rows"
        raise SeriesError(source, [ValidationIssue(location=source, found="", remedy=remedy)])
    header = [name.strip() for name in rows[0]]
    doubled = sorted(name for name, count in Counter(header).items() if count > 1)
    if doubled:
        remedy = "name each column once"
        raise SeriesError(
            source, [ValidationIssue(location=f"{source}, header", found=doubled[0], remedy=remedy)]
        )
    faults = [
        ValidationIssue(
            location=f"{source}, row {line}",
            found=f"{len(row)} cells",
            remedy=f"the header has {len(header)}; remedy or drop the row",
        )
        for line, row in zip(lines, rows, strict=True)
        if len(row) != len(header)
    ]
    raise_faults(source, faults)
    columns = {name: [row[at].strip() for row in rows[1:]] for at, name in enumerate(header)}
    decimal = "." if delimiter == "," else ","
    return TextTable(source=source, columns=columns, lines=np.array(lines[1:]), decimal=decimal)


def _refuse_other(source: str, text: str) -> None:
    """Refuse a file that begins as JSON or as weather does, before each of its rows is a fault."""
    for opening, what in _OTHERS.items():
        if text.lstrip().startswith(opening):
            remedy = f"is {what}; wanted is separated text with a header, as time_utc,price_eur_mwh"
            raise SeriesError(source, [ValidationIssue(location=source, found="", remedy=remedy)])


def _rows(source: str, text: str, delimiter: str) -> tuple[list[list[str]], list[int]]:
    """Return the rows that are not blank, and the line where each begins."""
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    written, begin = text.split("\n"), 1
    rows, lines = [], []
    try:
        for row in reader:
            over = written[begin - 1 : reader.line_num]
            if len(over) > 1 and "".join(over).count(_QUOTE) % 2:
                raise _unclosed(source, begin, over[0])
            if any(cell.strip() for cell in row):
                rows.append(row)
                lines.append(begin)
            begin = reader.line_num + 1
    except csv.Error as error:  # a cell without end, or a file of another system
        first = written[begin - 1]
        if _QUOTE in first:
            raise _unclosed(source, begin, first) from error
        remedy = "write one row a line, and every cell of it in at most 100,000 letters"
        fault = ValidationIssue(location=f"{source}, row {begin}", found=str(error), remedy=remedy)
        raise SeriesError(source, [fault]) from error
    return rows, lines


def _unclosed(source: str, line: int, text: str) -> SeriesError:
    """Return the error of a quote that opens in a line, and closes nowhere or in another cell."""
    fault = ValidationIssue(
        location=f"{source}, row {line}",
        found=repr(text.strip()[:_WIDTH]),
        remedy="a quote opens here and is not closed; close it, or drop it",
    )
    return SeriesError(source, [fault])


def parse_numbers(table: TextTable, column: str, *, name: str) -> np.ndarray:
    """Return a column as numbers, NaN where a cell is blank.

    Parameters
    ----------
    table
        The file.
    column
        Header of the column.
    name
        What it is, as faults tell it.

    Returns
    -------
    numpy.ndarray
        One number a row.

    Raises
    ------
    SeriesError
        If a cell holds something else than a finite number, or a dot that has no sure meaning.

    Notes
    -----
    Where any cell of a column has a decimal comma, dots stand between thousands in all of its
    cells, so that 1.002 beside 998,5 is 1002; a cell whose dots do not part groups of three digits,
    as 3.5 or 1,002.5, is refused there, as either reading would be a guess. In a column without a
    decimal comma a dot is the decimal sign. Where more cells have such a dot than a comma, those
    with a comma are refused instead.
    """
    texts = pd.Series(table.columns[column], dtype="str")
    is_blank = texts.str.lower().isin(BLANK_CELLS).to_numpy(dtype=bool)
    is_unsure, remedy = np.zeros(len(texts), dtype=bool), ""
    has_comma = texts.str.contains(",", regex=False).to_numpy(dtype=bool) & ~is_blank
    if table.decimal == "," and has_comma.any():
        has_dot = texts.str.contains(".", regex=False)
        is_unsure = (has_dot & ~texts.str.fullmatch(_GROUPED)).to_numpy(dtype=bool) & ~is_blank
        if is_unsure.sum() > has_comma.sum():
            is_unsure, remedy = has_comma, _AS_OTHERS.format("point")
        else:
            texts = texts.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
            remedy = _AS_OTHERS.format("comma")
    values = pd.to_numeric(texts.mask(is_blank), errors="coerce").to_numpy(dtype=np.float64)
    is_bad = ~is_blank & (is_unsure | ~np.isfinite(values))
    faults = [
        ValidationIssue(
            location=cell_location(table.source, row=table.lines[row], name=name),
            found=repr(table.columns[column][row]),
            remedy=remedy if is_unsure[row] else _MEND,
        )
        for row in np.flatnonzero(is_bad)
    ]
    raise_faults(table.source, faults)
    return values


def describe_unread(table: TextTable, read: Iterable[str]) -> list[str]:
    """Return in words which columns of a file are not read, as one in another unit is not."""
    left = [name for name in table.columns if name not in {*read}]
    return [f"not read: {', '.join(left)}"] if left else []


def cell_location(source: str, *, row: object, name: str) -> str:
    """Return where a value stands, as in ``prices.csv, row 412, electricity_price``."""
    return f"{source}, row {row}, {name}"


def raise_faults(source: str, faults: Sequence[ValidationIssue]) -> None:
    """Raise the faults of a file if there are any; many are told by the first few.

    Parameters
    ----------
    source
        Name of the file.
    faults
        What was found.

    Raises
    ------
    SeriesError
        If there is at least one.
    """
    told = list(dict.fromkeys(faults))  # a row of several intervals has its own in each
    if not told:
        return
    shown = told[:_SHOWN]
    if len(told) > _SHOWN:
        more = f"{len(told) - _SHOWN} more like these"
        shown.append(ValidationIssue(location=source, found="", remedy=more))
    raise SeriesError(source, shown)


MAX_EXCERPT_LENGTH: Final = 200
"""Of what a service says. [letters]"""


def printable_excerpt(text: str) -> str:
    """Return the beginning of a stranger's text without what a terminal would obey."""
    letters = "".join(one if one.isprintable() else " " for one in text[: 4 * MAX_EXCERPT_LENGTH])
    return " ".join(letters.split())[:MAX_EXCERPT_LENGTH]
