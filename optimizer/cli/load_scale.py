"""The option that says how much movable work a site has, of every command that scales jobs."""

from typing import Annotated

import typer

from optimizer.service.trials.setting import LEAST_LOAD, MOST_LOAD

LoadScale = Annotated[
    float,
    typer.Option(
        "--load-scale", min=LEAST_LOAD, max=MOST_LOAD, help="Mean share of the racks that jobs use."
    ),
]
"""A share of all racks at full work. [1]"""
