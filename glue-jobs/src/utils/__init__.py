"""What the job needs around its transformations: its configuration, its input, its output."""
