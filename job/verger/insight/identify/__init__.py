"""What is in a photograph, by a finished run."""
