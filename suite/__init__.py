"""The hub: what a task, a solver, a report and a row are, and how they run. Imports no sibling at module level."""
