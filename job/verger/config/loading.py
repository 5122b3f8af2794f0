"""Settings from defaults, a YAML file, the environment and options, merged; later wins."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, TypeVar, overload

from pydantic import BaseModel, ValidationError, create_model
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from verger.config.run_config import RunConfig
from verger.errors import UsageError

Settings = TypeVar("Settings", bound=BaseModel)


@overload
def load(options: dict[str, Any], file: str | os.PathLike[str] | None = None) -> RunConfig: ...


@overload
def load(options: dict[str, Any], file: str | os.PathLike[str] | None, model: type[Settings]) -> Settings: ...


def load(
    options: dict[str, Any], file: str | os.PathLike[str] | None = None, model: type[BaseModel] = RunConfig
) -> BaseModel:
    """Merge defaults, YAML file, environment (``VERGER_...``) and options; later wins.

    Parameters
    ----------
    options : dict
        What the command line gave, by field name.
    file : path, optional
        YAML file with field names as keys. It may be that of a run whatever the command: all of it is checked, and
        what the command does not take is left out.
    model : type
        RunConfig, or the settings of another command, whose fields are some of RunConfig's.

    Returns
    -------
    RunConfig or instance of ``model``
        Its ``model_fields_set`` has what a file, the environment or an option gave; with the option ``variance``,
        ``components`` too, which it replaces.

    Raises
    ------
    UsageError
        The file cannot be read, or a setting is wrong.
    """
    if file is not None and not os.path.isfile(file):
        raise UsageError(f"no configuration file at {file}", "Give --config an existing YAML file")
    if "variance" in options and "components" not in options:
        options = {**options, "components": None}
    try:
        merged = _merging(model, file)(**options)
        _require_one_size(merged, options)
        given = merged.model_dump(exclude_unset=True)
        return model(**{name: value for name, value in given.items() if name in model.model_fields})
    except ValidationError as error:
        raise UsageError(_explain(error), "See `verger run --help`") from None
    except UsageError:
        raise
    except Exception as error:  # a YAML file that does not parse raises the parser's own types
        if file is None:
            raise
        raise UsageError(f"{file} is no YAML mapping of settings: {error}") from None


def _merging(model: type[BaseModel], file: str | os.PathLike[str] | None) -> type[RunConfig]:
    """RunConfig that reads file and environment too, and requires of the places only those that ``model`` requires."""

    class Merged(BaseSettings, RunConfig):
        model_config = SettingsConfigDict(env_prefix="VERGER_", env_ignore_empty=True, extra="forbid")

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            yaml = () if file is None else (YamlConfigSettingsSource(settings_cls, yaml_file=Path(file)),)
            return (init_settings, env_settings, *yaml)

    required = {name for name, field in model.model_fields.items() if field.is_required()}
    optional: dict[str, Any] = {
        name: (str | None, None)
        for name, field in RunConfig.model_fields.items()
        if field.is_required() and name not in required
    }
    return create_model("Merged", __base__=Merged, **optional) if optional else Merged


def _require_one_size(merged: RunConfig, options: dict[str, Any]) -> None:
    """Refuse a share of the variance and a number of components together, unless options decide for one."""
    rivals = {"variance", "components"}
    if merged.components is not None and rivals <= merged.model_fields_set and len(rivals & options.keys()) != 1:
        raise UsageError("variance and components exclude one another", "Give one of them")


def _explain(error: ValidationError) -> str:
    """Put pydantic's findings on one line, each setting named as the user knows it."""
    findings = []
    for found in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in found["loc"][:1])
        message = re.sub(r"^Value error, ", "", found["msg"])
        if found["type"] == "extra_forbidden":
            message = "unknown setting"
        elif found["type"] == "missing":
            message = "is required"
        elif where == "endpoint_url":  # not repeated, for it may hold a password
            message = "must be of the form http://HOST:PORT or https://HOST, without user, password and path"
        elif where:
            message = f"{message[0].lower()}{message[1:]} (got {found['input']!r})"
        findings.append(f"{where}: {message}" if where else message)
    return "; ".join(findings)
