"""The report of a run: one self-contained page, and pictures beside it."""
