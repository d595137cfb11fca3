"""Which part of an input speaks for what a network sees: maps, smoothed maps, segments, and their sanity check."""
