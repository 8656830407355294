"""`python3 tests`: set a fresh clone up as `python3 suite` does, then run pytest with the arguments given.

Tests run in one process a core, unless the arguments say otherwise (`-n 0`: in this one) or measure (benchmarks).
"""

from __future__ import annotations

import os
import sys

if sys.path and os.path.abspath(sys.path[0]) == os.path.dirname(os.path.abspath(__file__)):
    del sys.path[0]  # no test file may shadow the standard library

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

if __name__ == "__main__":
    loader = SourceFileLoader("odernn_set_up", os.path.join(ROOT, "suite", "__main__.py"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    set_up = module_from_spec(spec)
    loader.exec_module(set_up)
    os.chdir(ROOT)
    given = sys.argv[1:]
    alone = any(a.startswith(("-n", "--numprocesses", "--benchmark-", "--pdb")) for a in given)
    spread = [] if alone else ["-n", "auto", "--dist", "worksteal"]
    sys.exit(set_up.start(["pytest", *spread, *given]))
