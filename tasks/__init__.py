"""What is asked of a solver. One file is one task; tasks import only the hub."""
