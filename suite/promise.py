"""`odernn show CELL --tableau NAME`: the largest step with a promise, and the reason."""

from __future__ import annotations

import json
from importlib import import_module


def promised(cell: str, tableau: str, hidden: int, seed: int, as_json: bool) -> str:
    """The certificate of a cell with the weights that a run with this seed starts from, for one input channel.

    Only matrices whose range depends on the inputs, those of "cornn" and "companion", differ in a run with more
    channels. Raises `UsageError`.
    """
    found = import_module("odernn.solvers.certificate").certified_step(cell, tableau, hidden, seed).row()
    facts = {"cell": cell, "tableau": tableau, "hidden": hidden, "seed": seed, **found}
    if as_json:
        return json.dumps(facts, indent=1)
    head = f"{cell} under {tableau} (hidden {hidden}, weights of seed {seed})"
    step = found["step"]
    told = "every step" if step == "inf" else f"steps up to {step:.6g}" if step > 0 else "no step"
    norm = f" in the {'2-norm' if found['norm'] == '2' else 'maximum norm'}" if found["norm"] else ""
    lines = [head, "-" * len(head), f"certified  {told}{norm} ({found['kind']})", found["reason"]]
    return "\n".join(lines)
