"""The phone's model of a finished run."""
