"""The one loop that trains everything, alone or many models as one (`stacking/`), and its optimizers, data and noise.

It knows a task, a schedule and slots; every path is checked against plain PyTorch.
It may not know search or response, nor record, ray or wandb.
"""
