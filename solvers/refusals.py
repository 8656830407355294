"""What solvers say of a question that is not theirs: one sentence each, written once."""

from __future__ import annotations

from ..suite.errors import UsageError


def no_given_field(cell: str) -> UsageError:
    """A learned cell asked to integrate an equation, to step it as a flow or to differentiate its solution."""
    return UsageError(f"cell {cell!r} is learned and has no given field: use cell 'true-field'.")


def no_recurrent_cell(cell: str) -> UsageError:
    """A forecaster asked for the weights, the certificate or the nesting of a recurrent cell."""
    return UsageError(f"cell {cell!r} is no recurrent cell: expected a cell that is given by a field with an input.")
