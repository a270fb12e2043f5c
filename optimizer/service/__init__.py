"""Closed loop and backtest."""
