"""The notebooks as pages of the site, with links as seen from ``docs/tutorials``."""

from docs.generators.links import ROOT, move_links

FOLDER = ""


def pages() -> dict[str, str]:
    """Return each notebook."""
    home, target = ROOT / "notebooks", ROOT / "docs/tutorials"
    return {
        f"tutorials/{path.name}": move_links(
            path.read_text(encoding="utf-8"), home=home, target=target
        )
        for path in sorted(home.glob("*.ipynb"))
    }
