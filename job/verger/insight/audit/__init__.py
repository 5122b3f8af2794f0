"""Which photographs to look at before the table is trusted, and why: a module an issue type."""
