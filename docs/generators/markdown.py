"""Text of Markdown pages: tables, and lists of pages."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; line breaks and bars within cells are made harmless."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def toctree(names: Iterable[str]) -> str:
    """Return a hidden list of the pages below this one."""
    return "\n".join(["```{toctree}", ":hidden:", ":maxdepth: 1", "", *names, "```", ""])
