"""Demo: broker, simulated plant, service and grid partner, each in its own process."""

from optimizer.demo.simulated_day import DemoConfig, DemoRun, run_demo

__all__ = ["DemoConfig", "DemoRun", "run_demo"]
