"""EU only: where buckets and nodes stand, asked before a run and refused where it cannot be told."""
