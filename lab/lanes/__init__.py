"""Lanes: long-lived workers that train trials in slots, the engines that keep them, and how wide and fast they are.

`local.py` runs them in this process, `ray/` on a cluster, `speed/` chooses between them by timing.
It may not know stages: a job comes in, reports go to the ledger. Only `ray/` imports ray.
"""
