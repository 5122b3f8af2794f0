"""EU only: a run is refused unless its buckets and nodes are known to be in the EU."""
