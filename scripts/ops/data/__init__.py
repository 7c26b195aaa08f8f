"""Files, runs and rows: what goes in, what became of it, what the warehouse holds."""
