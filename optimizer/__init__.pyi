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
from .fleet.planner import decide_fleet
from .fleet.routes import build_fleet_problems
from .inputs.series_files import SeriesFiles, build_problem, read_run_inputs
from .planner.decision import Decision
from .planner.pareto import pareto_front
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
    "build_fleet_problems",
    "build_problem",
    "build_size_options",
    "decide",
    "decide_fleet",
    "net_present_value",
    "paired_difference",
    "pareto_front",
    "parse_variation",
    "read_run_inputs",
    "study_sizes",
]
