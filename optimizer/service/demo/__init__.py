"""The demo: a broker, a simulated plant, the service and a partner, each a process of its own."""

from optimizer.service.demo.day import Day, Demo, run_day

__all__ = ["Day", "Demo", "run_day"]
