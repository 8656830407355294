"""SymPy expressions as torch functions with few kernel launches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy
from sympy.printing.lambdarepr import LambdaPrinter

from ..suite.equation import torch_namespace

Constants = tuple[tuple[sympy.Symbol, sympy.Number], ...]


class _Printer(LambdaPrinter):
    """Prints sums in few torch calls: -3 y + tanh(a) as tanh(a).add(y, alpha=-3), one kernel a term instead of two."""

    def _print_Add(self, expr: Any, order: Any = None) -> str:
        terms = self._as_ordered_terms(expr, order=order)  # type: ignore[no-untyped-call]
        first, *rest = sorted(terms, key=lambda e: (bool(e.could_extract_minus_sign()), bool(e.is_number)))
        text, tensor = self._print(first), not first.is_number
        for term in rest:
            coefficient, factor = term.as_coeff_Mul()
            if coefficient == -1:
                text = f"{text} - ({self._print(factor)})"
            elif coefficient == 1 or factor.is_number or not tensor:
                text = f"{text} + {self._print(term)}"
            else:
                text = f"({text}).add({self._print(factor)}, alpha={self._print(coefficient)})"
            tensor = tensor or not term.is_number
        return f"({text})"


def torch_function(
    arguments: list[sympy.Symbol], expressions: list[sympy.Expr], constants: Constants
) -> Callable[..., Any]:
    """A function of tensors, one an argument, that returns the list of the expressions' values.

    An expression without symbols comes back as a Python number.
    """
    namespace = torch_namespace()
    settings = {
        "fully_qualified_modules": False,
        "inline": True,
        "allow_unknown_functions": True,
        "user_functions": {name: name for name in namespace},
    }
    library: Any = sympy
    values = [_plain(library.sympify(e).xreplace(dict(constants))) for e in expressions]
    printer = _Printer(settings)  # type: ignore[no-untyped-call]
    printed: Callable[..., Any] = sympy.lambdify(arguments, values, [namespace], printer=printer, cse=True)
    return printed


def _plain(expression: Any) -> Any:
    """pi, sqrt(2) and the like as floats: torch functions do not take Python numbers."""
    return expression.replace(lambda e: e.is_number and not e.is_Rational and not e.is_Float, lambda e: e.n(17))
