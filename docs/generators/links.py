"""Links from pages of the site to files of the repository outside ``docs``."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FOLDER = ""

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")
PAGES = {
    "CONTRIBUTING.md": "docs/development/contributing.md",
    "CHANGELOG.md": "docs/development/changelog.md",
    "README.md": "docs/index.md",
    "notebooks": "docs/tutorials/index.md",
    "docs/adr": "docs/adr/README.md",
}
"""File or folder of the repository -> page of the site that shows it."""


def pages() -> dict[str, str]:
    """Return the pages of the rules of contribution and of the changes."""
    return {
        PAGES[name].removeprefix("docs/"): move_links(
            (ROOT / name).read_text(encoding="utf-8"), home=ROOT, target=(ROOT / PAGES[name]).parent
        )
        for name in ("CONTRIBUTING.md", "CHANGELOG.md")
    }


def show_repository_files(app: "Sphinx", docname: str, source: list[str]) -> None:
    """Name the files and folders that have no page, instead of a link that leads nowhere."""
    folder = Path(app.srcdir, docname).parent
    source[0] = move_links(source[0], home=folder, target=folder)


def move_links(text: str, *, home: Path, target: Path) -> str:
    """Return Markdown with its relative links as seen from another folder.

    A link to a file without a page becomes the name of the file. One to nothing stays, so that
    Sphinx reports it.
    """

    def moved(match: re.Match[str]) -> str:
        title, name, anchor = match[1], match[2], match[3] or ""
        path = Path(os.path.normpath(home / name))
        place = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else name
        if place.endswith(".ipynb"):
            place = place.replace("notebooks/", "docs/tutorials/", 1)
        page = ROOT / PAGES.get(place, place)
        if not path.exists() or page.is_relative_to(ROOT / "docs"):
            return f"[{title}]({os.path.relpath(page, target)}{anchor})"
        if title.strip("`") == place:
            return f"`{place}`"
        return f"{title} (`{place}` of the repository)"

    return LINK.sub(moved, text)
