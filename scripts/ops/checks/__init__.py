"""What `make lint` checks that no linter knows."""
