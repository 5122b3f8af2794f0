"""The first classifier of a run, and what it is worth."""
