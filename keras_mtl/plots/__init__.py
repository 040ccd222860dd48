"""Plots: they take a report and return Matplotlib `Axes`. They need the extra `plots`."""

from keras_mtl.plots._learning_curve import learning_curve

__all__ = ["learning_curve"]
