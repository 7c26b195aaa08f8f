"""A tree becomes a release: its version, its manifest, its archives."""
