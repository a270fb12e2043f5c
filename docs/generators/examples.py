"""Where the documentation uses each public name: examples, notebooks and code blocks of pages."""

import ast
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^ *```python\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r"^# (.+)$", re.MULTILINE)


def uses(names: Iterable[str]) -> dict[str, list[str]]:
    """Return, for each full name, Markdown links from a page in ``docs/reference/api``."""
    return {name: [link for link, used in _sources() if name in used] for name in names}


@cache
def _sources() -> list[tuple[str, set[str]]]:
    """Return a link to each source of examples, and the full names that it uses."""
    found = []
    for path in sorted((ROOT / "docs/examples").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        link = f"{{download}}`{path.name} <../../examples/{path.name}>`"
        title = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
        found.append((f"{link}: {title}", set(_used(text))))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        title = next(iter(TITLE.findall("".join(cells[0]["source"]))), path.stem)
        found.append((f"notebook `{path.name}`: {title}", set(_used("\n".join(code)))))
    for path in _guides():
        text = path.read_text(encoding="utf-8")
        page = path.relative_to(ROOT / "docs").as_posix()
        title = next(iter(TITLE.findall(text)), page)
        used = {name for block in BLOCK.findall(text) for name in _used(block)}
        found.append((f"[{title}](../../{page})", used))
    return found


def _guides() -> list[Path]:
    """Return the pages that people write."""
    docs = ROOT / "docs"
    folders = [
        path for path in docs.glob("*") if path.is_dir() and path.name not in {"reference", "adr"}
    ]
    return sorted([*docs.glob("*.md"), *(page for one in folders for page in one.rglob("*.md"))])


def _used(code: str) -> Iterator[str]:
    """Yield the full names that code imports or reaches through an imported package."""
    try:
        tree = ast.parse(code)
    except SyntaxError:  # lines for a shell of a notebook, or for a reader
        return
    homes = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            homes |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            homes |= {
                alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names
            }
    yield from homes.values()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            head, _, tail = ast.unparse(node).partition(".")
            yield f"{homes.get(head, head)}.{tail}"
