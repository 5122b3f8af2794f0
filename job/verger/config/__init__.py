"""RunConfig: every setting of a run, its default and its description, stated once.

The command line, the YAML file, the environment and the JSON Schema are all made from it.
"""

from verger.config.fields import HEADINGS
from verger.config.groups import (
    ComponentSettings,
    CostSettings,
    ExtractionSettings,
    InsightSettings,
    LogLevelSettings,
    LogSettings,
    NetworkSettings,
    SelectionSettings,
    SparkSettings,
    TableSettings,
)
from verger.config.loading import load
from verger.config.run_config import (
    AccessSettings,
    AnalysisSettings,
    CommandSettings,
    CompactSettings,
    DoctorSettings,
    JobSettings,
    PricingSettings,
    PruneSettings,
    ResultSettings,
    RunConfig,
    SessionSettings,
)
from verger.config.store_groups import (
    EventLogSettings,
    InputSettings,
    OutputSettings,
    ResidencySettings,
    StoreSettings,
)

__all__ = [
    "HEADINGS",
    "AccessSettings",
    "AnalysisSettings",
    "CommandSettings",
    "CompactSettings",
    "ComponentSettings",
    "CostSettings",
    "DoctorSettings",
    "EventLogSettings",
    "ExtractionSettings",
    "InputSettings",
    "InsightSettings",
    "JobSettings",
    "LogLevelSettings",
    "LogSettings",
    "NetworkSettings",
    "OutputSettings",
    "PricingSettings",
    "PruneSettings",
    "ResidencySettings",
    "ResultSettings",
    "RunConfig",
    "SelectionSettings",
    "SessionSettings",
    "SparkSettings",
    "StoreSettings",
    "TableSettings",
    "load",
]
