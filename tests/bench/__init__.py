"""The job's speed beside others' on the same rows, measured in one run: `make bench`."""
