"""The study folder and what is kept in it: spec, trials, checkpoints, artefacts, versions.

`ledger.py` is the only writer of trials; it owns sampler, pruner and storage. All writes are atomic.
It may not know lanes or stages, and neither ray nor torch.
"""
