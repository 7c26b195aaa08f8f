"""A release becomes live: where it goes, what is there, what it sets."""
