"""Options of commands, made from the fields of RunConfig."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, Union, get_args, get_origin

import rich_click as click
from click.core import ParameterSource
from pydantic.fields import FieldInfo

from verger import config, log
from verger.config import GROUPS, RunConfig

Command = Callable[..., Any]

PRECEDENCE = (
    "Every option can also be a key of the YAML file given with --config, or a variable of the environment "
    "(--max-labels: VERGER_MAX_LABELS). Later wins: defaults, file, environment, options. "
    "Input and output are required."
)


def settings(
    groups: Sequence[str] = GROUPS, absent: dict[str, str] | None = None, only: Collection[str] = ()
) -> Callable[[Command], Command]:
    """Give a command the fields of RunConfig as options; it is called with the merged ``config``.

    Parameters
    ----------
    groups : sequence of str
        The groups of fields to offer.
    absent : dict, optional
        What stands in for required fields that nobody gave.
    only : collection of str, optional
        Fields of the group "Where" to offer; default: all of them.
    """

    def decorate(command: Command) -> Command:
        fields = {name: field for name, field in RunConfig.model_fields.items() if _group(field) in groups}
        offered = {
            name: field for name, field in fields.items() if not only or _group(field) != "Where" or name in only
        }

        @functools.wraps(command)
        def merged(config_file: str | None, **values: Any) -> Any:
            source = click.get_current_context().get_parameter_source  # type: ignore[union-attr]
            own = {name: values.pop(name) for name in list(values) if name not in offered}
            given = {name: value for name, value in values.items() if source(name) is ParameterSource.COMMANDLINE}
            loaded = config.load(given, config_file, absent)
            log.begin(loaded.log_format == "json", loaded.log_level in ("debug", "info"))
            return command(loaded, **own)

        panels = [click.option_panel(group) for group in (*groups, "Options")]
        file = click.option("--config", "config_file", metavar="FILE", panel=GROUPS[0], help="YAML file of settings.")
        decorators: list[Callable[[Command], Command]] = [
            *panels,
            file,
            *(_option(name, field) for name, field in offered.items()),
        ]
        decorated: Command = merged
        for decorator in reversed(decorators):
            decorated = decorator(decorated)
        return decorated

    return decorate


def _group(field: FieldInfo) -> str:
    assert isinstance(field.json_schema_extra, dict)
    return str(field.json_schema_extra["group"])


def _option(name: str, field: FieldInfo) -> Callable[[Command], Command]:
    """One field as an option: its type, default, heading and description are the field's."""
    flag = "--" + name.replace("_", "-")
    kind: Any = field.annotation
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (part for part in get_args(kind) if part is not type(None))
    more: dict[str, Any] = {"type": kind}
    if get_origin(kind) is Literal:
        more["type"] = click.Choice(get_args(kind))
    elif get_origin(kind) is tuple:
        (item, *_) = get_args(kind)
        more = {"type": str, "multiple": True, "metavar": item.__metadata__[0].title}
    elif kind is bool:
        flag, more = f"{flag}/--no-{flag[2:]}", {}
    if not field.is_required():
        more |= {"default": field.default, "show_default": True}
    return click.option(flag, name, help=field.description, panel=_group(field), **more)
