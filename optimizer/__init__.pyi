from .backtesting.case import BacktestCase
from .backtesting.results import PairedDifference, paired_difference
from .backtesting.runner import backtest
from .inputs.series_files import SeriesFiles, read_run_inputs
from .planner.decision import Decision
from .planner.planner import decide
from .problem.problem import Problem

__all__ = [
    "BacktestCase",
    "Decision",
    "PairedDifference",
    "Problem",
    "SeriesFiles",
    "backtest",
    "decide",
    "paired_difference",
    "read_run_inputs",
]
