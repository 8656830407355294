"""The state of a training: all that changes on the way, so that it can be kept and taken up again to the bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


class Training:
    """A model in training with its optimiser, the generator of its sequences, and what was found so far.

    losses: one an update. marks: curves by name. metrics: found before the first update. seconds: of training, up to
    the state that was taken up. What a model keeps outside of its `state_dict` is not part of the state.
    """

    def __init__(
        self, model: torch.nn.Module, optimiser: torch.optim.Adam, rng: np.random.Generator, device: torch.device
    ) -> None:
        self.model, self.optimiser, self.rng, self._device = model, optimiser, rng, device
        self.losses: list[float] = []
        self.marks: dict[str, list[float]] = {"updates": [], "loss": [], "test": []}
        self.metrics: dict[str, float] = {}
        self.seconds = 0.0

    def state(self, seconds: float) -> dict[str, Any]:
        """Tensors and plain values alone. seconds: of training so far."""
        import torch

        return {
            "update": len(self.losses),
            "seconds": seconds,
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "marks": self.marks,
            "metrics": self.metrics,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "numpy": json.dumps(self.rng.bit_generator.state, default=np.ndarray.tolist),
            "torch": torch.get_rng_state(),
            "device": torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state. Raises where it is not one of this training, which is then as it was."""
        import torch

        before = deepcopy(self.model.state_dict())
        shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in before.items()}
        if {name: (tensor.shape, tensor.dtype) for name, tensor in state["model"].items()} != shapes:
            raise ValueError("it is of a model of other shapes")
        losses = state["losses"].tolist()
        marks = {key: list(state["marks"][key]) for key in self.marks}
        metrics = {str(key): float(value) for key, value in state["metrics"].items()}
        seconds = float(state["seconds"])
        if len(losses) != state["update"]:
            raise ValueError("its losses are not those of its updates")
        fresh, drawn, generator = deepcopy(self.optimiser.state_dict()), torch.get_rng_state(), self.rng
        taken = deepcopy(generator)
        try:
            taken.bit_generator.state = json.loads(state["numpy"])
            self.optimiser.load_state_dict(state["optimiser"])
            self._fits()
            self.model.load_state_dict(state["model"])
            torch.set_rng_state(state["torch"])
            if self._device.type == "cuda":
                torch.cuda.set_rng_state(state["device"], self._device)
        except Exception:
            self.optimiser.load_state_dict(fresh)
            self.model.load_state_dict(before)
            torch.set_rng_state(drawn)
            raise
        self.rng, self.losses, self.marks, self.metrics, self.seconds = taken, losses, marks, metrics, seconds

    def _fits(self) -> None:
        """Raises `ValueError` unless the optimiser's moments are of the shapes of its parameters."""
        for parameter in self.model.parameters():
            kept = self.optimiser.state.get(parameter, {})
            if any(kept[name].shape != parameter.shape for name in ("exp_avg", "exp_avg_sq") if name in kept):
                raise ValueError("its moments are of other shapes")
