from .backtesting.case import BacktestCase
from .backtesting.results import (
    Economics,
    PairedDifference,
    net_present_value,
    paired_difference,
)
from .backtesting.runner import backtest
from .backtesting.size_options import build_size_options, parse_variation
from .backtesting.sizing import StudyDesign, study_sizes
from .inputs.series_files import SeriesFiles, build_problem, read_run_inputs
from .planner.decision import Decision
from .planner.planner import decide
from .problem.problem import Problem

__all__ = [
    "BacktestCase",
    "Decision",
    "Economics",
    "PairedDifference",
    "Problem",
    "SeriesFiles",
    "StudyDesign",
    "backtest",
    "build_problem",
    "build_size_options",
    "decide",
    "net_present_value",
    "paired_difference",
    "parse_variation",
    "read_run_inputs",
    "study_sizes",
]
