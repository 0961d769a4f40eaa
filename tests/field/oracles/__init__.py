"""Optimizers of the catalogue, written a second time by hand: plain Python, one element.

Each is a generator. It takes the first value of a parameter, its gradients, and the
hyperparameters by name, and yields the parameter after every step. Nothing here comes from the
specs: the forms are those of the papers and of the reference implementations.
"""
