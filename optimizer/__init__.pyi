from .backtesting.case import BacktestCase
from .backtesting.runner import backtest
from .inputs.series_files import SeriesFiles, read_run_inputs
from .planner.decision import Decision
from .planner.planner import decide
from .problem.problem import Problem

__all__ = [
    "BacktestCase",
    "Decision",
    "Problem",
    "SeriesFiles",
    "backtest",
    "decide",
    "read_run_inputs",
]
