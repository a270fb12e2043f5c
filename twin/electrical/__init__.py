"""Electrical."""
