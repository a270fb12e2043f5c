"""Configuration of the documentation site; ``./dev docs`` builds it into ``out/docs/html``.

Pages that the code determines are written into ``docs/reference`` before Sphinx looks for sources.
"""

import sys
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

project = "gigatwin"
author = "The gigatwin authors"
project_copyright = author
release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["examples", "generators", "results/*/*.md", "_static"]

myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # ./dev docs --execute sets it to cache
nb_execution_timeout = 600
nb_execution_raise_on_error = True

autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
python_maximum_signature_line_length = 80
copybutton_prompt_text = "$ "

html_theme = "pydata_sphinx_theme"
html_title = f"gigatwin {release}"
html_static_path = ["_static"]
html_css_files = ["gigatwin.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": f"gigatwin {release}"},
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "back_to_top_button": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_math_renderer = "mathml"


def setup(app: Sphinx) -> None:
    """Connect what writes pages and prepares their text."""
    from docs.generators import write_pages  # noqa: PLC0415 # needs ROOT on the path
    from docs.generators.diagrams import show_transitions  # noqa: PLC0415
    from docs.generators.equations import block, inline  # noqa: PLC0415
    from docs.generators.links import show_repository_files  # noqa: PLC0415

    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.connect("builder-inited", lambda _: write_pages(ROOT / "docs"))
    app.connect("source-read", show_transitions)
    app.connect("source-read", show_repository_files)
