"""Options of commands, made from the fields of RunConfig."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

import rich_click as click
from click.core import ParameterSource
from pydantic.fields import FieldInfo

from verger import log
from verger.config import HEADINGS, LogSettings, RunConfig, load
from verger.spark import submitted

Command = Callable[..., Any]

_PATTERNS = ("label", "exclude", "class_regex", "group_regex")  # settings in which a question mark means something

PRECEDENCE = (
    "Every option can also be a key of the YAML file given with --config, or a variable of the environment "
    "(--max-labels: VERGER_MAX_LABELS). Later wins: defaults, file, environment, options. "
    "Input and output are required."
)


def settings(
    model: type[LogSettings] = RunConfig, headings: Sequence[str] = HEADINGS, only: Collection[str] = ()
) -> Callable[[Command], Command]:
    """Give a command settings as options; it is called with the merged ``config``.

    Parameters
    ----------
    model : type
        What the command takes: RunConfig, or fewer of its fields.
    headings : sequence of str
        The headings of `--help` whose fields are offered; the others come from file and environment alone.
    only : collection of str, optional
        Fields to offer under the heading "Where"; default: all of them.
    """

    def decorate(command: Command) -> Command:
        offered = {
            name: field
            for name, field in RunConfig.model_fields.items()
            if _heading(field) in headings and (not only or _heading(field) != "Where" or name in only)
        }

        @functools.wraps(command)
        def merged(config_file: str | None, **values: Any) -> Any:
            source = click.get_current_context().get_parameter_source  # type: ignore[union-attr]
            own = {name: values.pop(name) for name in list(values) if name not in offered}
            given = {name: value for name, value in values.items() if source(name) is ParameterSource.COMMANDLINE}
            config = load(given, config_file, model)
            log.configure(config.log_format == "json", config.log_level in ("debug", "info"))
            _require_letters({"config_file": config_file} | own | given)
            return command(config, **own)

        panels = [click.option_panel(heading) for heading in (*headings, "Options")]
        file = click.option("--config", "config_file", metavar="FILE", panel=HEADINGS[0], help="YAML file of settings.")
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


def _require_letters(given: Mapping[str, Any]) -> None:
    """Check that spark-submit has handed on the letters of the command line."""
    texts = {
        name: [item for item in (value if isinstance(value, tuple) else (value,)) if isinstance(item, str)]
        for name, value in given.items()
    }
    patterns = [text for name in _PATTERNS for text in texts.pop(name, [])]
    submitted.require_arguments([text for values in texts.values() for text in values], patterns)


def _heading(field: FieldInfo) -> str:
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
    return click.option(flag, name, help=field.description, panel=_heading(field), **more)
