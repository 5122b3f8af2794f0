"""RunConfig, all settings of a run; and what commands need that are no runs."""

from __future__ import annotations

from pydantic import ConfigDict

from verger.config.fields import setting
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
from verger.config.store_groups import (
    EventLogSettings,
    InputSettings,
    OutputSettings,
    ResidencySettings,
    StoreSettings,
)

# pydantic lists the fields of the last base first: `--help` and the JSON Schema follow the order from below.


class AccessSettings(ResidencySettings, StoreSettings):
    """How stores are reached, and where they may be."""


class CommandSettings(LogSettings, AccessSettings):
    """What every command takes that touches a store."""


class SessionSettings(LogLevelSettings, SparkSettings, EventLogSettings):
    """How Spark runs, and how loudly."""


class AnalysisSettings(SparkSettings, InsightSettings, ComponentSettings, NetworkSettings):
    """What is found out about a run's photographs, in which space, and the memory and the seed that it takes."""

    @property
    def standardized(self) -> bool:
        """Whether features are divided by their standard deviation."""
        return self.backbone == "pixels" if self.standardize is None else self.standardize


class ResultSettings(LogSettings, AnalysisSettings, AccessSettings):
    """The settings of `verger report`, `identify` and `export`."""


class PricingSettings(CostSettings, StoreSettings):
    """At which prices a run is counted, and in which region."""


class PruneSettings(CommandSettings, OutputSettings):
    """The settings of `verger prune`."""


class CompactSettings(LogSettings, SessionSettings, ExtractionSettings, AccessSettings, OutputSettings):
    """The settings of `verger compact`."""


class JobSettings(
    PricingSettings,
    CostSettings,
    SessionSettings,
    ResultSettings,
    LogSettings,
    TableSettings,
    LogLevelSettings,
    SparkSettings,
    ExtractionSettings,
    InsightSettings,
    ComponentSettings,
    NetworkSettings,
    SelectionSettings,
    AccessSettings,
    ResidencySettings,
    EventLogSettings,
    StoreSettings,
):
    """All settings of a run but its places."""


class RunConfig(JobSettings, OutputSettings, InputSettings):
    """The settings of one run.

    Raises
    ------
    pydantic.ValidationError
        A value is out of range, unknown, or contradicts another.
    """

    model_config = ConfigDict(title="RunConfig")


class DoctorSettings(JobSettings):
    """The settings of `verger doctor`, which checks the places that it is given."""

    input: str | None = setting("Where", "Folder of photographs to check.", None, min_length=1)
    inventory: str | None = setting("Where", "S3 Inventory report, or folder of reports, to check.", None)
    output: str | None = setting("Where", "Folder of the feature store and the runs to check.", None, min_length=1)
    name: str = setting("Where", "Not used.", "verger")
