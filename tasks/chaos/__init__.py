"""Chaotic systems and how long a model can forecast them."""

from .forecast import TASK, Chaos

__all__ = ["TASK", "Chaos"]
