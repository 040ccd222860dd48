"""Plots of reports and of what `sharing.describe` returns: they give Matplotlib `Axes`, and need the extra `plots`."""

from keras_mtl.plots._learning_curve import learning_curve
from keras_mtl.plots._sharing import branching, expert_use, stitches

__all__ = ["branching", "expert_use", "learning_curve", "stitches"]
