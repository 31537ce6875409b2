"""What people see of a study: the page, its plots and verdict, figures as files, W&B.

It reads the record's artefacts and changes none of them. `wandb_runs/` alone imports wandb.
It may not know the study's face above it, nor the command line.
"""
