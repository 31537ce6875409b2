"""Nets that begin with weights, whatever they read: a body, a new head on it, and what a frozen body makes of the data.

Knows no library of nets: `images/` and `text/` bring the bodies.
"""
