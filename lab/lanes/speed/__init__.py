"""How fast trials train here, and what follows: path, width, stack, threads, engine and number of lanes.

`probe.py` checks and times, `packing.py` counts full rows, `choose.py` decides and says why.
It may not know what the trials are for.
"""
