"""Tariffs, bills, contracts and reserve products."""
