"""jax: the recurrence as a `jax.lax.scan`, compiled with its gradient; all inputs are projected before the loop."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .clock import Run
from .problem import Passed, SequenceProblem


def sequence(problem: SequenceProblem) -> Run:
    """The cell's method written out; see `jax_field.step_of` for which."""
    from .jax_field import JaxField, step_of

    field = JaxField(problem)
    return compiled(problem, field, step_of(problem, field))


def compiled(problem: SequenceProblem, field: Any, step: Any) -> Run:
    """(y, drive, weights) -> y scanned over the inputs; loss and gradient of all operands by jax.value_and_grad."""
    jax: Any = import_module("jax")
    jnp: Any = jax.numpy

    jax.config.update("jax_enable_x64", True)  # for good, as the backend diffrax does
    x = jnp.asarray(problem.x.detach().cpu().numpy())
    start = jnp.asarray(problem.start().cpu().numpy())
    operands = tuple(jnp.asarray(one.detach().cpu().numpy()) for one in problem.operands())
    substeps = problem.cell.substeps

    def loss(operands: Any, x: Any) -> Any:
        *weights, V, b = operands

        def body(y: Any, drive: Any) -> tuple[Any, Any]:
            for _ in range(substeps):
                y = step(y, drive, weights)
            return y, y

        states = jax.lax.scan(body, start, x @ V.T + b)[1]
        return jnp.mean(jnp.square(field.features(states)))

    both = jax.jit(jax.value_and_grad(loss))
    return lambda: Passed(*jax.block_until_ready(both(operands, x)))
