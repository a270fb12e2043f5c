"""The examples of the page on racks and chips run unchanged."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[4]


def test_views_on_the_page_of_racks(capsys):
    page = (ROOT / "docs/how-to/planners/racks-and-chips.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 3
    found = {}
    for example in examples:
        exec(example, found)
    shown = capsys.readouterr().out
    assert "hall_1/r0" in shown or "hall_2/r0" in shown
    assert "warm" in found["cdus"].operate(2.0, found["twin"].Weather.constant(air=20)).inputs
    assert found["racks"].sizes["time"] == 60
    assert found["many"].sizes["sample"] == 1000
    assert found["chips"]["chip_power"].shape == (300, 28, 72)
