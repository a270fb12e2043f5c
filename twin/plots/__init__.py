"""Figures for people to look at; the one home of matplotlib."""

from twin.plots.runs import plot_comparison, plot_run

__all__ = ["plot_comparison", "plot_run"]
