"""The guides are short, their links lead somewhere, and their commands and options exist."""

import re
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from optimizer.cli import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GENERATED = ("api", "commands", "messages", "variables.md", "changelog.md", "contributing.md")
"""Folders and pages that only the build of the site writes; it checks the links to them."""
PAGES = [
    page
    for page in sorted(DOCS.rglob("*.md"))
    if not set(page.relative_to(DOCS).parts).intersection(GENERATED)
]
GUIDES = [page for page in PAGES if page.is_relative_to(DOCS / "how-to")]
SHORT = [ROOT / "README.md", DOCS / "index.md", *sorted((DOCS / "start").glob("*.md")), *GUIDES]
"""Pages whose sentences are short."""
MOST_LINES = 200
MOST_WORDS = 30
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PROGRAM = typer.main.get_command(app)
NAMES = ("gigatwin", "op", "gt")
"""The command, and the two aliases that the guides for operators define."""


def name(page):
    return page.relative_to(DOCS).as_posix()


@cache
def anchors(page):
    """Return the anchors of a page's headings, as a code host and the site make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def broken_links(page):
    """Yield the links of a page to files or headings that do not exist."""
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"https?:|mailto:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if set(Path(file).parts).intersection(GENERATED):
            continue
        if not target.exists() or (
            anchor and target.suffix == ".md" and anchor not in anchors(target)
        ):
            yield f"{name(page)}: {link}"


def commands(page):
    """Yield the words of each call of the program in the shell blocks of a page."""
    for kind, block in FENCE.findall(page.read_text()):
        if kind != "sh":
            continue
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r" [&|;>]+ ", line.partition(" #")[0]):
                words = part.split()
                for number, word in enumerate(words[:-1]):
                    is_first = number == 0 or words[number - 1].endswith("/dev") or "/bin/" in word
                    if word.rpartition("/")[2] in NAMES and is_first and words[0] != "alias":
                        yield words[number + 1 :]


def sentences(text):
    """Yield the sentences of a page, without code, tables, headings and the targets of links."""
    prose = re.sub(r"<!--.*?-->", "", FENCE.sub("", text), flags=re.DOTALL)
    for part in re.split(r"\n\s*\n|\n(?=\s*(?:[-*|#]|\d+\.) ?)", prose):
        if not part.strip().startswith(("|", "#", "<")):
            plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(part.split()))
            yield from re.split(r"(?<=[.!?:;])\s+(?=[A-Z`*\"(])", plain)


@cache
def part_of(command, word):
    """Return a sub-command, or nothing if the command has none of this name."""
    return command.get_command(None, word) if isinstance(command, TyperGroup) else None


def unknown_words(words):
    """Return the commands and options of a call that the program does not have."""
    command, rest = PROGRAM, list(words)
    while isinstance(command, TyperGroup) and rest and not rest[0].startswith("-"):
        if (part := part_of(command, rest[0])) is None:
            return rest[:1]
        command, rest = part, rest[1:]
    known = {option for one in command.params for option in one.opts} | {"--help"}
    return [word for word in rest if word.startswith("--") and word.split("=")[0] not in known]


@pytest.mark.parametrize("page", GUIDES, ids=name)
def test_guides_are_short(page):
    assert len(page.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("page", SHORT, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_sentences_are_short(page):
    long = [one for one in sentences(page.read_text()) if len(one.split()) > MOST_WORDS]
    assert long == []


def test_a_long_sentence_is_found():
    found = list(sentences(f"# A title\n\nShort. {'Long ' * 31}[end](link.md).\n\n| a | table |\n"))
    assert [len(one.split()) for one in found] == [1, 32]


def test_links_of_all_pages_lead_somewhere():
    assert len(PAGES) > 100
    assert [link for page in PAGES for link in broken_links(page)] == []


def test_a_broken_link_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.DOCS", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# Here\n\n[a](#here) [b](#there) [c](gone.md) [d](https://example.org)\n")
    assert list(broken_links(page)) == ["page.md: #there", "page.md: gone.md"]


@pytest.mark.slow  # imports every command
def test_commands_of_all_pages_exist():
    calls = {page: list(commands(page)) for page in PAGES}
    assert sum(map(len, calls.values())) > 40
    wrong = [(name(page), words) for page in PAGES for words in calls[page] if unknown_words(words)]
    assert wrong == []


def test_an_unknown_command_or_option_is_found():
    assert unknown_words(["backtets", "small"]) == ["backtets"]
    assert unknown_words(["backtest", "small", "--weeks", "3"]) == ["--weeks"]
    assert unknown_words(["backtest", "small", "--days", "3"]) == []
