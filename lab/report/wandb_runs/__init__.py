"""W&B: a run for the study and runs for its trials, one group a study, logged from the driver or of a finished folder.

`service.py` alone imports wandb. What a run shows of a trial is made without it, in `trial_log.py`.
"""
