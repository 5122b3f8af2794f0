"""The feature store, the record of a run, and how to read them."""
