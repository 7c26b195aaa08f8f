"""The tools behind the Make targets and the release scripts, run as `python -m ops.<tool>`."""
