"""Tasks that examine a solver rather than score it. One file is one audit; it imports only the hub and the problems."""
