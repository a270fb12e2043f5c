"""Policies that decide a site's operation: model-predictive, rule-based, and simple bounds."""
