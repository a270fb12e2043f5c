"""The notebooks as pages of the site, with links as seen from ``docs/tutorials``."""

import json
from pathlib import Path

from docs.generators.links import ROOT, move_links

FOLDER = ""


def pages() -> dict[str, str]:
    """Return each notebook."""
    return {
        f"tutorials/{path.name}": _tutorial(path)
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    }


def _tutorial(path: Path) -> str:
    """Return a notebook with the links of its text moved."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"])
            cell["source"] = move_links(text, home=path.parent, target=ROOT / "docs/tutorials")
    return json.dumps(notebook, ensure_ascii=False, indent=1)
