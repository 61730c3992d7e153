"""Training: one loop (`steps`), and one step in each framework (`torch`, `keras`)."""

from genmodels.training.history import Batch, History, Settings, normal

__all__ = ["Batch", "History", "Settings", "normal"]
