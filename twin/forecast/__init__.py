"""Forecasts: the history of a site, its outlook, and scenarios from past forecast errors."""
