"""Page of the variables: unit and meaning of every name in Datasets, files and messages."""

from docs.generators.markdown import table
from twin.variables import EQUIPMENT_ROLES, SITE_VARIABLES, VariableDefinition

FOLDER = ""

HEAD = """# Variables

Names, units and meanings of all variables in Datasets, series files and messages. Units are in the
attribute `units`. Powers are means over an interval and never negative.

## Of the site

"""


def _rows(definitions: dict[str, VariableDefinition]) -> str:
    return table(
        ["name", "unit", "meaning"],
        [[f"`{name}`", f"`{one.unit}`", one.meaning] for name, one in definitions.items()],
    )


def pages() -> dict[str, str]:
    """Return the page."""
    text = HEAD + _rows(SITE_VARIABLES) + "\n## Of machines\n\n" + _rows(EQUIPMENT_ROLES)
    return {"reference/variables.md": text}
