"""Files of the past, again: late, corrected, replayed, rebuilt."""
