"""What a task, a solver and an outcome are. Shapes are named once, here.

Sequences are (time, batch, channel); states of an initial value problem are (..., dimension); tasks speak NumPy
(float64), solvers may use torch inside. Nothing here imports torch: the hub is light.

Longer than most files because every noun of the project is in it, most of it docstrings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

from .errors import Diverged

Array = npt.NDArray[Any]
Loss = Literal["cross_entropy", "mean_squared_error"]
Status = Literal["ok", "diverged", "failed", "timeout", "memory", "skipped"]


@dataclass(frozen=True)
class Budget:
    """How much learning a point may do. Part of its identity.

    updates: optimiser steps; batch: sequences in each; learning_rate: of Adam; clip: bound of the gradient norm
    (0: none); evaluations: how many times along the way the test loss is recorded (for the learning curve); decay: the
    fraction of itself to which the learning rate falls along half a cosine (1: it stays).
    """

    updates: int = 300
    batch: int = 32
    learning_rate: float = 1e-2
    clip: float = 1.0
    evaluations: int = 20
    decay: float = 1.0


@dataclass(frozen=True)
class Batch:
    """Sequences to learn from or to be judged on.

    inputs: (time, batch, inputs) float64. targets: (time, batch) int64 class numbers for a cross-entropy,
    (time, batch, outputs) float64 for a squared error. weights: (time, batch) float64, the weight of each position in
    the loss (0 where the output is ignored).
    """

    inputs: Array
    targets: Array
    weights: Array


@dataclass(frozen=True)
class Outcome:
    """What an evaluation found; `run` wraps it into a row.

    metrics: numbers by the names of `suite.metrics`; curves: plain lists, for figures; cost: `f_calls`, `parameters`,
    `train_seconds`, ...; properties: facts about the task or solver that reports need (`primary_metric`, ...).
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    status: Status = "ok"
    reason: str = ""


@dataclass(frozen=True)
class Trajectory:
    """A solved initial value problem: y[i] at time t[i], with what it cost.

    t: (n,); y: (n, ..., dimension). f_calls counts evaluations of the field (a batched one counts once). accepted and
    rejected count steps; a fixed grid rejects none; -1: the library does not say. Of implicit methods: evaluations of
    the Jacobian, and factorizations of the matrices of Newton's method.
    """

    t: Array
    y: Array
    f_calls: int
    accepted: int
    rejected: int = 0
    jacobian_calls: int = 0
    factorizations: int = 0


class VectorField(Protocol):
    """y' = f(t, y), written once: what `suite.equation.Equation` and `suite.matrix_equation.MatrixEquation` are."""

    @property
    def name(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    def function(self, library: str = "numpy") -> Any:
        """f(t, y) for y (..., dimension) in "numpy", "torch" or "jax"; in "numba" a compiled f(t, y, out) for y of
        shape (dimension,). Where the field reads an input, f(t, y, u). Raises `UsageError` for a library it has no
        form for."""
        ...

    def jacobian(self, library: str = "numpy") -> Any:
        """df/dy(t, y) of shape (..., dimension, dimension), in the same libraries; "numba": J(t, y, out)."""
        ...

    def latex(self) -> str: ...


class ClosedLoop(Protocol):
    """A forecaster that runs on its own output, as one map of its whole state, in float64.

    A state is (batch, size): whatever the model remembers, and its last forecast.
    """

    def start(self, context: Array) -> Array:
        """The state (batch, size) after reading a context (time, batch, inputs); it observes the next time's forecast.

        So `observe(start(context))` forecasts the time after the context's last, and each `step` goes one further.
        """
        ...

    def step(self, state: Array) -> Array: ...

    def observe(self, state: Array) -> Array:
        """The forecast (batch, inputs) that the state holds."""
        ...


class Forecaster(Protocol):
    """A trained sequence model seen through NumPy."""

    def outputs(self, inputs: Array) -> Array:
        """(time, batch, inputs) -> (time, batch, outputs), from the zero state."""
        ...

    def begin(self, context: Array) -> Array:
        """Read a context (time, batch, inputs) from zero and keep the state; the last output (batch, outputs)."""
        ...

    def step(self, inputs: Array) -> Array:
        """One further step with inputs (batch, inputs) from the remembered state; its output (batch, outputs)."""
        ...

    def closed_loop(self, increment: Array) -> ClosedLoop:
        """The model fed with its own output: the next input is input + increment * output, increment (inputs,)."""
        ...


class Flow(Protocol):
    """An autonomous field on the task's own state, given or learned, that can be stepped by any method."""

    def slope(self, y: Array) -> Array:
        """dy/dt (..., dimension) at y (..., dimension), float64."""
        ...

    def rollout(
        self, y0: Array, t: Array, tableau: str, substeps: int = 1, dtype: str = "float64", backend: str = "native"
    ) -> Trajectory:
        """`substeps` equal steps of the method between two times of t, from y0 (n, dimension).

        Raises `Diverged`, `UsageError`.
        """
        ...


@dataclass(frozen=True)
class Nesting:
    """depth: nested evaluations of the nonlinearity in one step, infinite where equations are solved for the stages.

    sweeps, depths: the account for such: the depth after so many sweeps of fixed-point iteration; reaching: stages that
    the result depends on, None for what has no stages; broken: those explicit stages, from 1, that do not read the
    stage before.
    """

    depth: float
    sweeps: tuple[int, ...] = ()
    depths: tuple[float, ...] = ()
    reaching: int | None = None
    broken: tuple[int, ...] = ()


class RecurrentMap(Protocol):
    """An untrained cell seen through NumPy, in float64: what audits examine.

    States are (batch, blocks, hidden); inputs one channel vector a step, held over it.
    """

    @property
    def blocks(self) -> int: ...

    @property
    def hidden(self) -> int: ...

    @property
    def inputs(self) -> int: ...

    @property
    def step(self) -> float:
        """The time h between two inputs."""
        ...

    @property
    def facts(self) -> dict[str, Any]:
        """For the row: equation (LaTeX), frozen, tableau, substeps, stages, order, ode_order, reference, integrator."""
        ...

    def parameters(self) -> dict[str, Array]:
        """The weights under the names of the published equations; constants as "constant:gamma", 0-dimensional."""
        ...

    def count(self) -> int:
        """Effective trained parameters, without a readout."""
        ...

    def start(self, batch: int) -> Array:
        """The state before the first input."""
        ...

    def run(self, inputs: Array, state: Array) -> Array:
        """Inputs (time, batch, channel) from a state: states (time + 1, batch, blocks, hidden), the given one first."""
        ...

    def slope(self, state: Array, u: Array) -> Array:
        """dy/dt of the stated field with the input u (batch, channel)."""
        ...

    def jacobian(self, state: Array, u: Array) -> Array:
        """Of one step y -> y+: (batch, D, D), D = blocks * hidden."""
        ...

    def with_parameters(self, parameters: Mapping[str, Array]) -> RecurrentMap:
        """The same cell with some of its weights replaced, by the names of `parameters`. Raises `UsageError`."""
        ...

    def with_step(self, step: float) -> RecurrentMap:
        """The same cell and weights with another step."""
        ...

    def field_jacobian(self, state: Array, u: Array) -> Array:
        """df/dy of the stated field, (batch, D, D)."""
        ...

    def certificate(self, norm: str | None = None) -> dict[str, Any]:
        """The largest step with a promise of no growth in a norm ("2", "max"), or in the better of them: kind, norm,
        step (0: none; may be infinite), reason."""
        ...

    def spectral_step(self, state: Array, u: Array) -> float | None:
        """The largest step that keeps h times the eigenvalues of df/dy at these states in the method's region of
        stability; None for a method without a stability function."""
        ...


@dataclass(frozen=True)
class Workload:
    """What is timed, and how.

    sequence: one forward and backward pass of a recurrence over `length` random inputs of `inputs` channels (0: as many
    as hidden units), `batch` sequences at once; the loss is the mean of the squares of all outputs, and all parameters
    get gradients. trajectory: one solution of a given equation from time 0 to `span`, `batch` starts at once, in
    `length` equal steps or, of an adaptive solver, in its own. threads: cores that everything measured may use.
    rounds: measurements of each, taken in turn with those of the others so that noise of the machine hits all alike.
    """

    kind: Literal["sequence", "trajectory"]
    length: int
    batch: int
    threads: int = 1
    rounds: int = 7
    inputs: int = 0
    span: float = 1.0


@dataclass(frozen=True)
class Timing:
    """Of one way to do a workload: seconds of every round, and of the first call, with what is compiled in it.

    warm: seconds of the first call in a new process, which finds on disk what was compiled before; of compiled engines
    of ours alone. reason: why it was not measured, or why warm was not; '' where all was. operations: floating-point
    operations of the matrix products, of the entries that carry out these alone; else 0.
    """

    name: str
    seconds: tuple[float, ...] = ()
    first: float | None = None
    warm: float | None = None
    reason: str = ""
    operations: float = 0.0


class Solver(Protocol):
    """A point's system under test: a learned recurrence, or an integrator of a given field."""

    @property
    def learns(self) -> bool:
        """True for a recurrent network that has to be trained; False for an integrator of the problem's own field."""
        ...

    def properties(self) -> dict[str, Any]:
        """Facts for the row: solver (every entry, with defaults), stages, order, stability polynomial, ..."""
        ...

    def learn(self, task: LearningTask, seed: int, budget: Budget) -> Learned:
        """Train a fresh model on the task. Raises `UsageError` where `learns` is False."""
        ...

    def solve(self, equation: VectorField, y0: Array, t: Array, inputs: Array | None = None) -> Trajectory:
        """Integrate the equation from y0 (..., dimension) at t[0] and report at every time of t.

        inputs: (len(t) - 1, k), each held on its interval [t[i], t[i + 1]): then the field is f(t, y, u). Raises
        `UsageError` where `learns` is True, `Diverged` where the solution leaves the finite numbers.
        """
        ...

    def flow(self, equation: VectorField) -> Flow:
        """The given equation as a flow that any method can step. Raises `UsageError` where `learns` is True."""
        ...

    def gradient(self, equation: VectorField, y0: Array, t: Array, cotangent: Array) -> Array:
        """d(cotangent . y(t[-1])) / d y0, by the backend's own differentiation of the discrete solution.

        All (dimension,). Raises `UsageError` where `learns` is True or the backend has no gradient.
        """
        ...

    def engines(self) -> Mapping[str, str]:
        """The engines that have carried out its work so far, each with the reason why it is not a compiled one ('')."""
        ...

    def training_step(self, length: int, batch: int, seed: int) -> Callable[[], float]:
        """One step of training a fresh model, to be taken as often as it is called: it returns the loss.

        On the same `batch` random sequences of `length` inputs, two channels in and one out, each time: forward pass,
        mean squared error of every output, backward pass, an update by Adam. Raises `UsageError` where nothing is
        trained by its gradient.
        """
        ...

    def in_backend(self, name: str) -> Solver:
        """The same method in another backend."""
        ...

    def nesting(self, seed: int) -> Nesting:
        """How deeply one step nests the field's nonlinearity: the measured n. Raises `UsageError` for a baseline."""
        ...

    def hunt(self, cases: int, seed: int, inflate: float, norm: str) -> dict[str, Any] | None:
        """Search for cases that break the cell's certificate; inflate: multiplies the certified steps.

        Numbers: cases, violations, worst_growth, tightness; texts: kind and reason of the certificate. None where
        nothing is certified in the norm ("2" or "max"). Raises `UsageError` for what is no cell given by an equation.
        """
        ...

    def recurrence(self, inputs: int, seed: int, hidden: int | None = None) -> RecurrentMap:
        """The cell with fresh weights, for audits; hidden: instead of the point's own.

        Raises `UsageError` for what is no cell given by a field: a library baseline, an integrator.
        """
        ...

    def timings(
        self,
        workload: Workload,
        seed: int,
        peers: bool = True,
        equation: VectorField | None = None,
        start: Array | None = None,
    ) -> list[Timing]:
        """How long the workload takes in one process: this solver first, then its general path, then with `peers`
        other libraries on the same problem and the floor of its matrix products.

        equation, start: of a trajectory, the field and its starts (batch, dimension). Raises `UsageError` for a kind of
        work that is not this solver's.
        """
        ...


@dataclass(frozen=True)
class Learned:
    """A trained model and the account of its training.

    cell: the trained recurrence for audits, None for a baseline; flow: the learned field, of a model that is one.
    """

    forecaster: Forecaster
    outcome: Outcome
    cell: RecurrentMap | None = None
    flow: Flow | None = None


class Task(ABC):
    """A question put to solvers. A task is a frozen dataclass; its fields are its parameters in an experiment."""

    name: ClassVar[str]
    primary_metric: ClassVar[str]

    @abstractmethod
    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """Put the question to one solver with one seed."""


class LearningTask(Task):
    """A task learned from sequences. An author writes the sizes, the data, the baseline and the metrics.

    inputs, outputs: channels in and out (for a cross-entropy, outputs is the number of classes).
    """

    loss: ClassVar[Loss]
    test_size: ClassVar[int] = 500

    @property
    @abstractmethod
    def inputs(self) -> int: ...

    @property
    @abstractmethod
    def outputs(self) -> int: ...

    @property
    @abstractmethod
    def memory_length(self) -> int:
        """Steps between the first input that matters and the output that needs it."""

    @abstractmethod
    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Draw `size` fresh sequences; every random number comes from `rng`."""

    @abstractmethod
    def baseline(self) -> dict[str, float]:
        """By metric name, what the best predictor without memory reaches. Must hold the primary metric."""

    @abstractmethod
    def measure(self, outputs: Array, batch: Batch) -> dict[str, float]:
        """The task's metrics of a model's outputs (time, batch, outputs) on a test batch."""

    def judge(self, model: Forecaster, seed: int) -> Outcome:
        """Metrics and curves of a trained model; by default `measure` on one test batch."""
        from .seeds import stream

        batch = self.batch(self.test_size, stream(seed, f"{self.name}/test"))
        return Outcome(metrics=self.measure(model.outputs(batch.inputs), batch))

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """Train, judge, and put the baseline beside the result."""
        return self.account(solver.learn(self, seed, budget), seed)

    def account(self, learned: Learned, seed: int) -> Outcome:
        """The outcome of a training: what it says of itself, the judgement of its model, the baseline."""
        trained = learned.outcome
        judged = self.judge(learned.forecaster, seed) if trained.status == "ok" else Outcome()
        baseline = {f"baseline_{key}": value for key, value in self.baseline().items()}
        return Outcome(
            metrics={**trained.metrics, **judged.metrics, **baseline},
            curves={**trained.curves, **judged.curves},
            cost={**trained.cost, **judged.cost},
            properties={**trained.properties, **judged.properties, "memory_length": self.memory_length},
            status=trained.status if trained.status != "ok" else judged.status,
            reason=trained.reason or judged.reason,
        )


@dataclass(frozen=True)
class Feedback:
    """How much of a model's own forecast it is fed in training.

    truth: the weight a in [0, 1] of the true next input; the model reads a * truth + (1 - a) * its own forecast (1 is
    teacher forcing; generalised teacher forcing of Hess et al. 2023, arXiv:2306.04406, has a below 1). warmup: so many
    first steps of a sequence read the truth alone. length: of the sequence, only so many steps after the warm-up enter
    the loss (a growing window); None: all.
    """

    truth: float = 1.0
    warmup: int = 0
    length: int | None = None


class ForecastTask(LearningTask):
    """A learning task on an autonomous series: the next input is input + increment * output.

    What closed-form forecasters learn from, and what closed-loop training needs.
    """

    @property
    @abstractmethod
    def sampling(self) -> float:
        """Time between two samples, in the equation's unit."""

    @property
    @abstractmethod
    def increment(self) -> Array:
        """(inputs,)."""

    @abstractmethod
    def series(self) -> Array:
        """The training data as the learner sees them: (samples, series, inputs), standardised."""

    @abstractmethod
    def feedback(self, progress: float) -> Feedback | None:
        """What the training loop does at that fraction of its updates; None: plain teacher forcing."""


@dataclass(frozen=True)
class InitialValueProblem:
    """y' = f(t, y), y(t0) = y0, with a reference value at t1.

    reference: y(t1), correct to at least 14 significant digits of its largest component; source: where the problem is
    published; how: how the reference was computed; stiff: for which explicit methods are the wrong choice.
    """

    equation: VectorField
    y0: tuple[float, ...]
    t0: float
    t1: float
    reference: tuple[float, ...]
    source: str
    how: str
    stiff: bool = False


class Audit(Task):
    """A task that examines a solver rather than scoring it."""


def finite(y: Array, what: str) -> Array:
    """The array itself; raises `Diverged` when it holds a NaN or an infinity."""
    if not np.isfinite(y).all():
        raise Diverged(f"{what} is not finite")
    return y
