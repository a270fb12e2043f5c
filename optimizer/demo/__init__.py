"""The demo: a broker, a simulated plant, the service and a partner, each a process of its own."""

from optimizer.demo.simulated_day import DemoConfig, DemoRun, run_demo

__all__ = ["DemoConfig", "DemoRun", "run_demo"]
