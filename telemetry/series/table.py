"""Read separated text as columns of cells that keep their line numbers; report their issues."""

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

from twin.errors import IssueCode, SeriesError, ValidationIssue

BLANK_CELLS: Final = frozenset({"", "nan", "na", "n/a", "null", "none", "-"})
"""Cells without a value, in lower case."""

_GROUPED: Final = r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+(?:,\d*)?"
"""A number whose dots can only be separators of thousands."""

EXPECTED_NUMBER_TEXT: Final = "a finite number or a blank"
BAD_NUMBER_REMEDY: Final = "write a finite number, or leave the cell blank"
_DECIMAL_REMEDY: Final = (
    "write a number with a decimal {}, as in other cells of the column, or leave the cell blank"
)

_WIDE_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""First bytes of a UTF-16 file, such as the Unicode text of Excel."""

_NUL: Final = "\0"
"""Half of most characters of UTF-16 that is read as another encoding; no text has it."""

_OTHER_FORMATS: Final = {
    "{": "JSON",
    "[": "JSON",
    "<": "XML",
    "LOCATION,": "weather (EPW)",
    "#1": "weather (.mos)",
}
"""First characters of files that are not tables -> their format."""

_TABLE_EXPECTED: Final = "separated text with a header, such as time_utc,price_eur_mwh"

_MAX_ISSUES: Final = 5
"""Issues that an error lists. [1]"""

_QUOTE: Final = '"'

MAX_SHOWN_LETTERS: Final = 40
"""Characters of a file that an issue shows. [1]"""


def series_error(
    source: str, location: str, *, found: str = "", expected: str, remedy: str, code: IssueCode
) -> SeriesError:
    """Return the error of a file or service that has one issue."""
    return SeriesError.single(source, code, location, found=found, expected=expected, remedy=remedy)


def check_web_address(url: str, remedy: str) -> None:
    """Refuse an address that is not one of the web."""
    if not url.startswith(("http://", "https://")):
        raise series_error(
            url,
            "url",
            found=url,
            expected="a web address",
            remedy=remedy,
            code=IssueCode.INVALID_FORMAT,
        )


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """The columns of one file.

    - `source`: name of the file, as issues show it.
    - `columns`: texts of each column by header.
    - `lines`: line where each row begins in the file; the header is line 1.
    - `decimal`: the decimal sign, "." or ",".
    """

    source: str
    columns: dict[str, list[str]]
    lines: np.ndarray
    decimal: str

    def column_error(self, remedy: str, *, expected: str = "other columns") -> SeriesError:
        """Return the error of a file that lacks the columns of its reader."""
        return series_error(
            self.source,
            f"{self.source}, columns",
            found=", ".join(self.columns),
            expected=expected,
            remedy=remedy,
            code=IssueCode.MISSING,
        )


def read_text(path: str | Path) -> str:
    """Return the text of a file, without a byte-order mark.

    A file is UTF-8, UTF-16 with a byte-order mark, or else Windows-1252, in which Excel writes a
    CSV with its euro sign. A file that is unreadable, binary or empty raises SeriesError.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise series_error(
            path.name,
            str(path),
            found=str(error.strerror),
            expected="a readable file",
            remedy="give a file that exists and that this user can read",
            code=IssueCode.FILE_ERROR,
        ) from error
    try:
        text = raw.decode("utf-16" if raw.startswith(_WIDE_MARKS) else "utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    if _NUL in text or not text.strip():
        raise series_error(
            path.name,
            path.name,
            found="binary data" if _NUL in text else "an empty file",
            expected="text",
            remedy="save it as CSV, in UTF-8" if _NUL in text else "give a file with rows",
            code=IssueCode.INVALID_FORMAT,
        )
    return text


def read_table(path: str | Path) -> TextTable:
    """Return the columns of a file separated by commas, semicolons or tabs, as in its header.

    After semicolons or tabs a comma is the decimal sign. A file of another format, a row of another
    length than the header, an open quote or a repeated header raises SeriesError.
    """
    source = Path(path).name
    text = read_text(path)
    _refuse_other_format(source, text)
    first = text.lstrip("\r\n").split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    rows, lines = _rows(source, text, delimiter)
    if not rows:
        raise series_error(
            source,
            source,
            found="only separators",
            expected=_TABLE_EXPECTED,
            remedy="give a file with a header and rows",
            code=IssueCode.INVALID_FORMAT,
        )
    header = [name.strip() for name in rows[0]]
    repeated = sorted(name for name, count in Counter(header).items() if count > 1)
    if repeated:
        raise series_error(
            source,
            f"{source}, header",
            found=repeated[0],
            expected="column names that occur once",
            remedy="name each column once",
            code=IssueCode.DUPLICATE,
        )
    issues = [
        IssueCode.INVALID_FORMAT.issue(
            f"{source}, row {line}",
            found=f"{len(row)} cells",
            expected=f"{len(header)} cells, as in the header",
            remedy="correct or drop the row",
        )
        for line, row in zip(lines, rows, strict=True)
        if len(row) != len(header)
    ]
    raise_issues(source, issues)
    columns = {name: [row[at].strip() for row in rows[1:]] for at, name in enumerate(header)}
    decimal = "." if delimiter == "," else ","
    return TextTable(source=source, columns=columns, lines=np.array(lines[1:]), decimal=decimal)


def _refuse_other_format(source: str, text: str) -> None:
    """Refuse a JSON, XML or weather file with one issue instead of one for each of its rows."""
    for opening, file_format in _OTHER_FORMATS.items():
        if text.lstrip().startswith(opening):
            raise series_error(
                source,
                source,
                found=file_format,
                expected=_TABLE_EXPECTED,
                remedy="give a file of that format",
                code=IssueCode.INVALID_FORMAT,
            )


def _rows(source: str, text: str, delimiter: str) -> tuple[list[list[str]], list[int]]:
    """Return the rows that are not blank, and the line where each begins."""
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    file_lines, begin = text.split("\n"), 1
    rows, lines = [], []
    try:
        for row in reader:
            row_lines = file_lines[begin - 1 : reader.line_num]
            if len(row_lines) > 1 and "".join(row_lines).count(_QUOTE) % 2:
                raise _open_quote(source, begin, row_lines[0])
            if any(cell.strip() for cell in row):
                rows.append(row)
                lines.append(begin)
            begin = reader.line_num + 1
    except csv.Error as error:  # a cell without end, or line ends of another system
        first = file_lines[begin - 1]
        if _QUOTE in first:
            raise _open_quote(source, begin, first) from error
        raise series_error(
            source,
            f"{source}, row {begin}",
            found=str(error),
            expected="cells of at most 100,000 letters",
            remedy="write one row a line, with shorter cells",
            code=IssueCode.INVALID_FORMAT,
        ) from error
    return rows, lines


def _open_quote(source: str, line: int, text: str) -> SeriesError:
    """Return the error of a quote that opens in a line and is not closed in the same cell."""
    return series_error(
        source,
        f"{source}, row {line}",
        found=repr(text.strip()[:MAX_SHOWN_LETTERS]),
        expected="a closing quote in the same cell",
        remedy="close the quote, or drop it",
        code=IssueCode.INVALID_FORMAT,
    )


def parse_numbers(table: TextTable, column: str, *, name: str) -> np.ndarray:
    """Return a column as finite numbers, NaN where a cell is blank; issues call it ``name``.

    If any cell of a column has a decimal comma, dots separate thousands in all of its cells: 1.002
    beside 998,5 is 1002. A cell whose dots do not separate groups of three digits, as 3.5 or
    1,002.5, is then refused, because either reading would be a guess. In a column without a decimal
    comma a dot is the decimal sign. If more cells have such a dot than a comma, those with a comma
    are refused instead.
    """
    texts = pd.Series(table.columns[column], dtype="str")
    is_blank = texts.str.lower().isin(BLANK_CELLS).to_numpy(dtype=bool)
    is_ambiguous, decimal_remedy = np.zeros(len(texts), dtype=bool), ""
    has_comma = texts.str.contains(",", regex=False).to_numpy(dtype=bool) & ~is_blank
    if table.decimal == "," and has_comma.any():
        has_dot = texts.str.contains(".", regex=False)
        is_ambiguous = (has_dot & ~texts.str.fullmatch(_GROUPED)).to_numpy(dtype=bool) & ~is_blank
        if is_ambiguous.sum() > has_comma.sum():
            is_ambiguous, decimal_remedy = has_comma, _DECIMAL_REMEDY.format("point")
        else:
            texts = texts.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
            decimal_remedy = _DECIMAL_REMEDY.format("comma")
    values = pd.to_numeric(texts.mask(is_blank), errors="coerce").to_numpy(dtype=np.float64)
    is_bad = ~is_blank & (is_ambiguous | ~np.isfinite(values))
    issues = [
        IssueCode.INVALID_FORMAT.issue(
            cell_location(table.source, row=table.lines[row], name=name),
            found=repr(table.columns[column][row]),
            expected=EXPECTED_NUMBER_TEXT,
            remedy=decimal_remedy if is_ambiguous[row] else BAD_NUMBER_REMEDY,
        )
        for row in np.flatnonzero(is_bad).tolist()
    ]
    raise_issues(table.source, issues)
    return values


def describe_unread_columns(table: TextTable, read: Iterable[str]) -> list[str]:
    """Return a note on the columns of a file that are not read, such as one in another unit."""
    unread = [name for name in table.columns if name not in {*read}]
    return [f"not read: {', '.join(unread)}"] if unread else []


def cell_location(source: str, *, row: object, name: str) -> str:
    """Return the location of a value, such as ``prices.csv, row 412, electricity_price``."""
    return f"{source}, row {row}, {name}"


def refuse_cells(
    source: str,
    cells: Sequence[object],
    is_bad: np.ndarray,
    *,
    name: str,
    expected: str,
    remedy: str,
    lines: np.ndarray | None = None,
) -> None:
    """Raise SeriesError if cells of a column are bad; without ``lines`` rows count from 1."""
    issues = [
        IssueCode.INVALID_FORMAT.issue(
            cell_location(source, row=row + 1 if lines is None else lines[row], name=name),
            found=repr(cells[row]),
            expected=expected,
            remedy=remedy,
        )
        for row in np.flatnonzero(is_bad).tolist()
    ]
    raise_issues(source, issues)


def raise_issues(source: str, issues: Sequence[ValidationIssue]) -> None:
    """Raise the issues of a file as SeriesError if there are any; list the first few only."""
    distinct = list(dict.fromkeys(issues))  # each interval of a row repeats the issue of the row
    if not distinct:
        return
    shown = distinct[:_MAX_ISSUES]
    if len(distinct) > _MAX_ISSUES:
        more = ValidationIssue(
            location=source,
            found=f"{len(distinct) - _MAX_ISSUES} more issues",
            expected="none",
            remedy="correct the listed ones first",
            code=distinct[_MAX_ISSUES].code,
        )
        shown.append(more)
    raise SeriesError(source, shown)


MAX_EXCERPT_LENGTH: Final = 200
"""Characters that are shown of the text of a service. [1]"""


def printable_excerpt(text: str) -> str:
    """Return the beginning of a foreign text without control characters."""
    letters = "".join(one if one.isprintable() else " " for one in text[: 4 * MAX_EXCERPT_LENGTH])
    return " ".join(letters.split())[:MAX_EXCERPT_LENGTH]
