"""Compilation of Pyomo models to arrays, once for each signature."""
