"""`gigatwin size`: options that are refused before anything runs."""

import pytest
from typer.testing import CliRunner

from optimizer.cli import app

TANK = ("--vary", "tank_1.volume=480 m3")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "--vary"),
        (("--vary", "tank_l.volume=480 m3"), "did you mean tank_1"),
        (("--vary", "tank_1.volum=480 m3"), "did you mean volume"),
        (("--vary", "tank_1.useful_share=1.5"), "at most 1"),
        (("--vary", "tank_1.volume=480", "m3", "MW"), "one unit for each --vary"),
        ((*TANK, "--unit-cost", "200", "--life", "20"), "--discount-rate"),
        ((*TANK, "--investment", "1,2", "--life", "20", "--discount-rate", "0"), "1 numbers"),
        ((*TANK, "--prices", "mine.csv"), "--weather"),
        ((*TANK, "--weeks", "few"), "--weeks"),
        ((*TANK, "--weeks", "1"), "2 to 52"),
        ((*TANK, "--weeks", "5,6"), "one number of weeks"),
        ((*TANK, "--policy", "thresh"), "did you mean threshold"),
    ],
)
def test_invalid_option_is_refused(words, named):
    shown = CliRunner().invoke(app, ["size", "small", *words])
    assert shown.exit_code == 1
    assert named in " ".join(shown.output.split())
