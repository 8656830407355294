"""Engine "cuda-graph": the general path's own kernels for a whole sequence, captured once and replayed at once.

A step of a small network is bound by the host, which launches its kernels one by one. A CUDA graph holds them all: one
launch forward and one backward, the same kernels in the same order, hence the numbers of the general path.

Captured is what follows `TorchField.weights` and `TorchField.drive`, which are computed anew for every sequence and
copied into the graph's own inputs. A graph belongs to one field, method, grid, shape, dtype, device and to the
switches that choose kernels (TF32, determinism); the latest few of every field are kept, and go with it.

A graph has one set of buffers, which every replay overwrites. Two sequences of one shape may be run before a gradient
is asked for (`gradient_ratio` does so), and the second then destroys what the first one saved. Replays are therefore
counted: a backward pass that finds another count than its forward pass left repeats that forward pass first.

Over the usual length: what is captured, how and when not share one set of names.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import torch
from torch import Tensor

from ..backends.base import Solution
from ..backends.common import Rate, check_finite
from ..backends.native import step_sizes
from ..composition import Composition
from ..implicit import Problem, advance_step
from ..module_field import ModuleField
from ..partitioned import plan_for
from ..partitioned_tableau import PartitionedTableau
from ..splitting import Splitting
from ..step import advance, stages
from ..tableaux import Method
from ..torch_field import TorchField, Weights

KEPT = 8
"""Graphs of one field. Each holds the memory of a forward and backward pass."""

STEPS = 10_000
"""Steps of the longest sequence: a graph holds every kernel of every step, in host memory too."""

WARM_UPS = 3

Inputs: TypeAlias = tuple[Tensor, ...]
Work: TypeAlias = Callable[[], tuple[Tensor | None, ...]]


@dataclass(frozen=True)
class Refusal:
    """Why a sequence is left to the general path."""

    reason: str


class Replayable(ABC):
    """Recorded work, which `replay` does again on the same memory."""

    @abstractmethod
    def replay(self) -> None: ...


class Recorder(ABC):
    """Records work on tensors. One recorder serves one forward pass and its backward pass, which share memory."""

    @abstractmethod
    def warm(self, work: Work) -> None:
        """Do the work a few times first. Raises `RuntimeError` for work that cannot be recorded."""

    @abstractmethod
    def record(self, work: Work) -> tuple[Replayable, tuple[Tensor | None, ...]]:
        """The recorded work, and the tensors into which it writes. They hold numbers only after a replay."""


@final
class CudaGraph(Replayable):
    def __init__(self) -> None:
        self.graph = torch.cuda.CUDAGraph()

    def replay(self) -> None:
        self.graph.replay()


@final
class CudaRecorder(Recorder):
    """torch.cuda.CUDAGraph, one memory pool a recorder."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.pool = torch.cuda.graph_pool_handle()

    def warm(self, work: Work) -> None:
        with torch.cuda.device(self.device):
            here, side = torch.cuda.current_stream(), torch.cuda.Stream()
            side.wait_stream(here)
            before = torch.cuda.get_sync_debug_mode()
            try:
                with torch.cuda.stream(side):
                    for i in range(WARM_UPS):
                        # what waits for the device cannot be captured, and a capture that failed half way is harder
                        # to leave than one that never began
                        torch.cuda.set_sync_debug_mode("error" if i == WARM_UPS - 1 else before)
                        work()
            finally:
                torch.cuda.set_sync_debug_mode(before)
                here.wait_stream(side)

    def record(self, work: Work) -> tuple[Replayable, tuple[Tensor | None, ...]]:
        made = CudaGraph()
        # torch.cuda.graph leaves its stream current where the capture fails: the outer context puts it back
        with (
            torch.cuda.device(self.device),
            torch.cuda.stream(torch.cuda.current_stream()),
            torch.cuda.graph(made.graph, pool=self.pool),
        ):
            written = work()
        return made, written


@final
class Rollout:
    """(start, drive, *weights) -> states: what `Native.fixed` computes, without its test that they are finite.

    start (batch, D); drive (inputs, batch, ...), each held for `substeps` steps; states (steps + 1, batch, D).
    f_calls: evaluations of the field in the last call. The method is explicit (`capturable`).
    """

    def __init__(self, field: TorchField, times: Sequence[float], method: Method, substeps: int) -> None:
        self.field, self.times, self.method, self.substeps = field, times, method, substeps
        self.f_calls = 0

    def __call__(self, start: Tensor, drive: Tensor, *weights: Tensor) -> Tensor:
        rate = Rate(self.field, weights)
        drives = (d for d in drive.unbind(0) for _ in range(self.substeps))
        intervals = list(itertools.pairwise(self.times))
        y, states = start, [start]
        if isinstance(self.method, Splitting):
            composition = Composition(self.method, self.field, weights)
            for h, d in zip(step_sizes(list(self.times)), drives, strict=True):
                y = composition.step(y, d, h)
                states.append(y)
            rate.calls = composition.calls_a_step * len(intervals)
        elif isinstance(self.method, PartitionedTableau):
            plan = plan_for(self.method, self.field, tuple(start.shape))
            problem = Problem(rate, start, False, plan.blocks)
            for (t0, t1), rate.drive in zip(intervals, drives, strict=True):
                y = advance_step(problem, plan, t0, y, t1 - t0).y
                states.append(y)
        else:
            method = stages(self.method, "torch")
            for (t0, t1), rate.drive in zip(intervals, drives, strict=True):
                y = advance(rate, t0, y, t1 - t0, method)[0]
                states.append(y)
        self.f_calls = rate.calls
        return torch.stack(states)


@final
class Captured:
    """One forward pass and its backward pass, recorded on inputs of their own.

    wanted: for each input whether its gradient is; f_calls: of the recorded pass.
    """

    def __init__(self, rollout: Rollout, inputs: Inputs, wanted: tuple[bool, ...], recorder: Recorder) -> None:
        self.lock = threading.Lock()
        self.generation = 0
        chosen: list[Tensor] = []
        outcome: list[Tensor] = []
        # of the tensors saved for the recorded backward pass; a caller's hooks would move them off the device
        own = torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x)
        with torch.inference_mode(False), torch.set_grad_enabled(any(wanted)), own:
            self._inputs = tuple(_own(x, grad) for x, grad in zip(inputs, wanted, strict=True))
            chosen += [x for x in self._inputs if x.requires_grad]

            def forward() -> tuple[Tensor | None, ...]:
                outcome[:] = [rollout(*self._inputs)]
                return (outcome[0].detach(),)

            def backward() -> tuple[Tensor | None, ...]:
                # retain_graph: the saved tensors stay where they are, so that a second backward pass reads them too
                return torch.autograd.grad(outcome[0], chosen, cotangent, retain_graph=True, allow_unused=True)

            def both() -> tuple[Tensor | None, ...]:
                forward()
                return torch.autograd.grad(outcome[0], chosen, torch.ones_like(outcome[0]), allow_unused=True)

            recorder.warm(both if chosen else forward)
            outcome.clear()
            self._forward, written = recorder.record(forward)
            assert written[0] is not None
            self._states = written[0]
            self._backward: Replayable | None = None
            self._cotangent = cotangent = torch.empty_like(self._states)
            self._gradients: tuple[Tensor | None, ...] = ()
            if chosen and outcome[0].requires_grad:
                self._backward, self._gradients = recorder.record(backward)
        self.f_calls = rollout.f_calls
        # replays write into memory of this graph, which must live as long as the recording does
        self._alive = outcome

    def forward(self, inputs: Inputs) -> tuple[Tensor, int]:
        """The states, in memory of the caller's, and the number of this replay."""
        with self.lock, torch.no_grad():
            self._replay(inputs)
            return self._states.clone(), self.generation

    def backward(self, inputs: Inputs, generation: int, cotangent: Tensor) -> list[Tensor | None]:
        """The gradients of the inputs that have one, after the replay of this number on these inputs."""
        with self.lock, torch.no_grad():
            if generation != self.generation:
                self._replay(inputs)
            found: list[Tensor | None] = []
            if self._backward is not None:
                self._cotangent.copy_(cotangent)
                self._backward.replay()
                found = [None if g is None else g.clone() for g in self._gradients]
            gradients = iter(found)
            return [next(gradients, None) if x.requires_grad else None for x in self._inputs]

    def _replay(self, inputs: Inputs) -> None:
        for own, x in zip(self._inputs, inputs, strict=True):
            own.copy_(x)
        self.generation += 1
        self._forward.replay()


def _own(x: Tensor, grad: bool) -> Tensor:
    with torch.no_grad():
        copy = torch.empty_like(x).copy_(x)  # an expanded tensor becomes a whole one
    return copy.requires_grad_(grad)


class _Replayed(torch.autograd.Function):
    """states = graph(inputs). A first derivative only; a second one is refused by torch."""

    @staticmethod
    def forward(ctx: Any, captured: Captured, *inputs: Tensor) -> Tensor:
        states, ctx.generation = captured.forward(inputs)
        ctx.captured = captured
        ctx.save_for_backward(*inputs)
        return states

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        captured: Captured = ctx.captured
        return None, *captured.backward(ctx.saved_tensors, ctx.generation, cotangent)


@final
class Graphs:
    """The graphs of every field, the latest `kept` of each; a field's go with it.

    recorder: makes the recorder for a device. busy: '' or why nothing can be recorded or replayed just now.
    """

    def __init__(
        self,
        recorder: Callable[[torch.device], Recorder],
        busy: Callable[[torch.device], str],
        kept: int = KEPT,
    ) -> None:
        self._recorder, self._busy, self._kept = recorder, busy, kept
        self._lock = threading.Lock()
        self._of: weakref.WeakKeyDictionary[TorchField, OrderedDict[Hashable, Captured | Refusal]]
        self._of = weakref.WeakKeyDictionary()

    def fixed(
        self,
        field: TorchField,
        start: Tensor,
        drive: Tensor,
        times: Sequence[float],
        method: Method,
        weights: Weights,
        substeps: int = 1,
    ) -> Solution | Refusal:
        """`Native.fixed`, replayed: start (batch, D); drive (inputs, batch, ...), each held over `substeps` intervals
        of `times`.

        A `Refusal` says why the general path has to run instead. Raises `Diverged` where a state is not finite.
        """
        if reason := self._busy(start.device) or capturable(method, field):
            return Refusal(reason)
        if len(times) - 1 > STEPS:
            return Refusal(f"the sequence has {len(times) - 1} steps, and a graph holds at most {STEPS}")
        inputs = (start, drive, *weights)
        wanted = tuple(torch.is_grad_enabled() and x.requires_grad for x in inputs)
        captured = self.captured(field, inputs, wanted, tuple(times), method, substeps)
        if isinstance(captured, Refusal):
            return captured
        replayed: Any = _Replayed
        states: Tensor = replayed.apply(captured, *inputs) if any(wanted) else captured.forward(inputs)[0]
        check_finite(states, times, "native")
        return Solution(states, captured.f_calls, len(times) - 1)

    def captured(
        self,
        field: TorchField,
        inputs: Inputs,
        wanted: tuple[bool, ...],
        times: tuple[float, ...],
        method: Method,
        substeps: int,
    ) -> Captured | Refusal:
        """The field's graph for inputs such as these, recorded now or before."""
        device = inputs[0].device
        buffers = tuple(b.data_ptr() for b in field.buffers())  # read where they lie: after .to() they lie elsewhere
        shapes = tuple((tuple(x.shape), x.dtype, x.device) for x in inputs)
        key = (shapes, wanted, times, method, substeps, buffers, _switches(device))
        with self._lock:
            known = self._of.setdefault(field, OrderedDict())
            if key not in known:
                known[key] = self._record(Rollout(field, times, method, substeps), inputs, wanted)
                while len(known) > self._kept:
                    known.popitem(last=False)
            known.move_to_end(key)
            return known[key]

    def _record(self, rollout: Rollout, inputs: Inputs, wanted: tuple[bool, ...]) -> Captured | Refusal:
        try:
            return Captured(rollout, inputs, wanted, self._recorder(inputs[0].device))
        except RuntimeError as error:  # of CUDA and of torch; what the general path refuses is no RuntimeError
            said = str(error).strip().splitlines()
            return Refusal(f"the sequence could not be captured: {said[0] if said else type(error).__name__}")


def capturable(method: Method, field: TorchField) -> str:
    """Why no graph can hold the steps of a method on a field, whatever the machine; '' where one can."""
    if isinstance(field, ModuleField):
        return f"cell {field.name!r} is a torch module, whose Python a capture would freeze"
    if isinstance(method, Splitting):
        explicit = True
    elif isinstance(method, PartitionedTableau):
        explicit = plan_for(method, field, (1, field.blocks * field.hidden_size)).explicit
    else:
        explicit = method.explicit
    return "" if explicit else f"method {method.name!r} solves equations, and the host reads how far it came"


def available() -> str:
    """'' where CUDA graphs can be captured, or why not."""
    if not torch.backends.cuda.is_built():
        return "this torch was built without CUDA"
    return "" if torch.cuda.is_available() else "there is no CUDA device"


def busy(device: torch.device) -> str:
    """Why no graph can be captured or replayed on this device just now; '' where it can."""
    if device.type != "cuda":
        return f"the state is on {str(device)!r}, not on a CUDA device"
    if reason := available():
        return reason
    if torch.compiler.is_compiling():
        return "the call is being compiled by torch"
    if torch.cuda.is_current_stream_capturing():
        return "another capture is running"
    if torch.is_autocast_enabled():
        return "autocast is on, whose casts belong to one pass"
    if torch.is_anomaly_enabled():
        return "anomaly detection reads every gradient"
    return ""


def precision_facts(device: torch.device) -> dict[str, Any]:
    """What decides how precisely products of float32 are computed on a device, for a row's properties.

    float32_matmul_precision: "highest" (float32 throughout), "high" (TF32 operands on CUDA) or "medium"; on CUDA also
    cudnn_tf32 (of torch.nn.LSTM and other peers) and bf16_reduction, whether products of bfloat16 may be summed in it.
    """
    if device.type != "cuda":
        try:
            return {"float32_matmul_precision": torch.get_float32_matmul_precision()}
        except RuntimeError:  # torch refuses to name one where its newer switches were used
            return {"float32_matmul_precision": "mixed"}
    backends: Any = torch.backends
    try:
        rules = [backends.cuda.matmul.fp32_precision, backends.cudnn.rnn.fp32_precision]
        tf32, cudnn = ((backends.fp32_precision if rule == "none" else rule) == "tf32" for rule in rules)
    except AttributeError:  # torch before 2.9
        tf32, cudnn = backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32
    return {
        "float32_matmul_precision": "high" if tf32 else "highest",
        "cudnn_tf32": cudnn,
        "bf16_reduction": bool(backends.cuda.matmul.allow_bf16_reduced_precision_reduction),
    }


def _switches(device: torch.device) -> Hashable:
    """Global switches that decide which kernels run, and the stream, since one graph must not run on two at a time."""
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
    return tuple(precision_facts(device).items()), torch.are_deterministic_algorithms_enabled(), stream


GRAPHS = Graphs(CudaRecorder, busy)
"""The graphs of this process."""


def solve_by_graph(
    field: TorchField, y0: Tensor, u: Tensor, method: Method, step: float, substeps: int
) -> Solution | Refusal:
    """One step of size step / substeps after another from y0 (batch, blocks * hidden), the input u (time, batch, input)
    held over each `substeps` of them. See `Graphs.fixed`."""
    times = [step * i / substeps for i in range(len(u) * substeps + 1)]
    return GRAPHS.fixed(field, y0, field.drive(u), times, method, field.weights(), substeps)
