from optimizer.deciding import decide
from optimizer.decision import Decision
from optimizer.problem import Problem
from optimizer.service.trials.backtest import backtest
from optimizer.service.trials.setting import Setting
from optimizer.service.world import Files, read_world

__all__ = ["Decision", "Files", "Problem", "Setting", "backtest", "decide", "read_world"]
