"""The command line: commands, their options, exit codes, and what a finished run says last."""

from verger.cli.program import main

__all__ = ["main"]
