"""Which engine carries out a cell's steps, and why not a compiled one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ...suite.errors import UsageError
from ..backends.base import Backend, Solution
from ..tableaux import Method
from .operands import program_of
from .program import Assign, Step
from .writer import CannotLowerError

if TYPE_CHECKING:
    from ..torch_field import TorchField
    from .autograd import Rolled
    from .triton_text import Precision

DTYPES = (torch.float32, torch.float64)

_CHOICES: WeakKeyDictionary[TorchField, dict[tuple[Any, ...], tuple[Method, Choice]]] = WeakKeyDictionary()
"""By field, then what else decides; a method by its identity, which is kept."""


@dataclass(frozen=True)
class Choice:
    """name: of the engine that runs; reason: why it is the general one, '' where that was asked for or another runs."""

    name: str
    reason: str = ""


def choose(
    engine: str,
    field: TorchField,
    method: Method,
    backend: Backend,
    adaptive: bool,
    device: torch.device,
    dtype: torch.dtype,
) -> Choice:
    """The engine for a cell. Raises `UsageError` where the one asked for cannot run it."""
    if engine == "general":
        return Choice("general")
    known = _CHOICES.setdefault(field, {})
    key = (engine, id(method), backend.name, adaptive, device, dtype, torch.get_float32_matmul_precision())
    if key in known:
        return known[key][1]
    name = engine if engine != "auto" else "cpu" if device.type == "cpu" else "cuda-graph"
    reason = _common(field, backend, adaptive) or reason_against(name, field, method, device, dtype)
    if reason and engine != "auto":
        raise cannot_run(engine, field, method, reason)
    known[key] = (method, Choice("general", reason) if reason else Choice(name))
    return known[key][1]


def cannot_run(engine: str, field: TorchField, method: Method, reason: str) -> UsageError:
    """The error where the engine asked for is not one that can run."""
    return UsageError(
        f"engine {engine!r} cannot run cell {field.name!r} under {method.name!r}: {reason}. Expected 'auto' or "
        "'general'."
    )


def _common(field: TorchField, backend: Backend, adaptive: bool) -> str:
    if backend.name != "native":
        return f"backend {backend.name!r} steps by itself"
    return "its steps are chosen by an error estimate" if adaptive else ""


def reason_against(name: str, field: TorchField, method: Method, device: torch.device, dtype: torch.dtype) -> str:
    """Why an engine cannot run a cell, '' where it can."""
    if name == "cpu":
        if device.type != "cpu":
            return f"it runs on the CPU, not on {device.type}"
        return _dtype(dtype) or _unprintable(field, method)
    if name == "cuda-graph":
        from .cuda_graph import available, capturable

        return _device(device) or available() or capturable(method, field)
    from .triton import available as triton_available
    from .triton import refusal

    reason = _device(device) or triton_available() or _dtype(dtype) or _unprintable(field, method)
    kind = str(dtype).removeprefix("torch.")
    return reason or refusal(program_of(field, method).step, field.hidden_size, kind, precision(kind), device)


def precision(dtype: str) -> Precision:
    """Of the operands of the Triton kernels' products, by torch's own switch for float32 products
    (`torch.set_float32_matmul_precision`): "highest" keeps all digits, "high" is TF32, "medium" bfloat16."""
    if dtype != "float32":
        return "ieee"
    return {"high": "tf32", "medium": "bf16"}.get(torch.get_float32_matmul_precision(), "ieee")  # type: ignore[return-value]


def _device(device: torch.device) -> str:
    return "" if device.type == "cuda" else f"it runs on an NVIDIA GPU, not on {device.type}"


def _dtype(dtype: torch.dtype) -> str:
    return "" if dtype in DTYPES else f"it computes in float32 and float64, not in {str(dtype).removeprefix('torch.')}"


def _unprintable(field: TorchField, method: Method) -> str:
    if find_spec("llvmlite") is None:
        return "package llvmlite is not installed (pip install llvmlite)"
    try:
        return _unknown_functions(program_of(field, method).step)
    except CannotLowerError as error:
        return str(error)


@lru_cache(maxsize=512)
def _unknown_functions(step: Step) -> str:
    from .expressions import supported

    values = [one.value for one in step.operations if isinstance(one, Assign)]
    return "" if supported(values) else "it has a function that no engine prints"


def traced(device: torch.device) -> str:
    """Why no engine may run just now, '' where one may: what torch has to see every operation for."""
    if torch._C._are_functorch_transforms_active():
        return "a transform of torch.func follows every operation"
    if torch.autograd.forward_ad._current_level >= 0:
        return "forward-mode derivatives follow every operation"
    if torch._C._get_tracing_state() is not None:
        return "torch.jit.trace records every operation"
    return "torch.autocast chooses the precision of products" if torch.is_autocast_enabled(device.type) else ""


def solve(
    engine: str, field: TorchField, y0: Tensor, u: Tensor, method: Method, step: float, substeps: int, first: int = 0
) -> Solution | Rolled | str:
    """One step of size step / substeps after another, the input held over each `substeps` of them.

    first: how many inputs of the sequence came before u; a `Diverged` counts its time from there.

    A text where the engine finds only now that it cannot: why, for the general path to take over.
    """
    if engine == "cuda-graph":
        from .cuda_graph import Refusal, solve_by_graph

        found = solve_by_graph(field, y0, u, method, step, substeps)
        return found.reason if isinstance(found, Refusal) else found
    from .autograd import solve_compiled

    return solve_compiled(engine, field, y0, u, method, step, substeps, first)
