"""The story of a run, and of the commands that look after what runs have left.

A run is a row of stages: open, list, find pending, extract, check, fit, project, analyse, publish. Each takes and
returns frozen values (`verger.pipeline.values`), so that the types say in which order the stages can stand.
"""

from verger.pipeline.maintenance import compact, prune
from verger.pipeline.preparation import prepare
from verger.pipeline.story import project, run

__all__ = ["compact", "prepare", "project", "prune", "run"]
