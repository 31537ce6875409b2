"""Lanes on a Ray cluster: one Ray Tune trial is one lane, and the coordinator says who may speak for it.

Files, data and whole studies on their way to a cluster are here too. The only room that imports ray.
It may not know stages, nor what a trial is trained on.
"""
