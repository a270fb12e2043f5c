"""The question, the model, the verdict and the service.

Names are fetched when first asked for; their types stand in ``__init__.pyi`` beside this file.
"""

from importlib import import_module
from typing import Final

_HOME: Final = {
    "backtest": "optimizer.backtesting.runner",
    "decide": "optimizer.planner.planner",
    "Decision": "optimizer.planner.decision",
    "SeriesFiles": "optimizer.inputs.series_files",
    "Problem": "optimizer.problem.problem",
    "read_run_inputs": "optimizer.inputs.series_files",
    "BacktestCase": "optimizer.backtesting.case",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    """Fetch a public name from its module."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    message = f"module 'optimizer' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    """Return the public names, for those who look around."""
    return __all__
