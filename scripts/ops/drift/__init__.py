"""What was changed by hand in an environment, against the release that is live there."""
