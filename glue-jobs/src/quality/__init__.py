"""Quality rules: a Great Expectations suite, judged in the pass that writes the rows."""
