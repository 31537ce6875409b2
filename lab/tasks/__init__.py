"""Tasks: data, model, loss and metrics; the contract, its checks, splits, and the tasks that come with the package.

`task.py` is the contract, `load.py` finds what a spec names, `checks.py` says in plain words what is wrong.
It may not know how anything is trained or searched. What is known of built-in tasks by name needs no torch.
"""
