"""The forest: the score as a function of the space and of the epochs; its quality, importances, effects, divergence.

Plain values in, plain values out. Scikit-learn grows the trees.
It may not know trials in storage, nor training, ray or wandb.
"""
