"""Chaotic systems and how long a model can forecast them."""

from .forecast import Chaos

TASK = Chaos

__all__ = ["TASK", "Chaos"]
