"""The hub: what a task, a solver, a report and a row are, and how they are run. Imports none of its siblings at module level."""
