"""What a run would do and cost, and whether it could."""
