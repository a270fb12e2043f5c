"""State diagrams of Mermaid as tables, so that the site needs no script to draw them."""

import re
from typing import TYPE_CHECKING

from docs.generators.markdown import table

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FENCE = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TRANSITION = re.compile(r"^ *(\S+) --> (\S+?)(?:: (.*))?$", re.MULTILINE)


def show_transitions(_app: "Sphinx", _docname: str, source: list[str]) -> None:
    """Replace each state diagram of a page by the table of its transitions."""
    source[0] = FENCE.sub(lambda match: _table(match[1]), source[0])


def _table(diagram: str) -> str:
    rows = [
        [_state(before), _state(after), event]
        for before, after, event in TRANSITION.findall(diagram)
    ]
    return table(["from", "to", "when"], rows)


def _state(name: str) -> str:
    return "(start)" if name == "[*]" else f"`{name}`"
