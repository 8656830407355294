"""One file, one table."""
