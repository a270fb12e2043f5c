from optimizer.backtesting.case import BacktestCase
from optimizer.backtesting.runner import backtest
from optimizer.inputs.series_files import SeriesFiles, read_run_inputs
from optimizer.planner.decision import Decision
from optimizer.planner.planner import decide
from optimizer.problem.problem import Problem

__all__ = [
    "BacktestCase",
    "Decision",
    "Problem",
    "SeriesFiles",
    "backtest",
    "decide",
    "read_run_inputs",
]
