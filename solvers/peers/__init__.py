"""What our speed is measured beside: one file a peer, each in its own best form for the same problem.

A sequence peer is made from a `SequenceProblem`, a trajectory peer from a `TrajectoryProblem`; both are a function
without arguments that does the whole workload once. Libraries are imported where a peer is made, so that a missing one
is a reason in a row and not an error.
"""
