"""One model trained by several processes: each computes its share of a batch, and gradients are averaged every step.

For a model that wants several GPUs. The loop is the one that trains everything else; knows neither lane nor ledger.
"""
