"""The program `verger`: one command, and the exit code it ends with."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import rich_click as click
from click.exceptions import Exit, NoArgsIsHelpError

from verger import log
from verger.cli.commands import verger
from verger.cli.exit_codes import exit_code_and_line, fail
from verger.environment import unset_empty
from verger.errors import ExitCode
from verger.spark import variables


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.
    """
    unset_empty()
    variables.forget_other_pyspark()
    given = list(sys.argv[1:] if arguments is None else arguments)
    # What is wrong with the settings is said before they can be read.
    log.configure(
        os.environ.get("VERGER_LOG_FORMAT") == "json" or "--log-format json" in " ".join(given).replace("=", " ")
    )
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may be what its encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        # Not click's own `main`, which turns an interrupt and a broken pipe into codes of its own.
        with verger.make_context("verger", given) as context:
            verger.invoke(context)
        sys.stdout.flush()
    except Exit as done:
        sys.exit(done.exit_code)
    except NoArgsIsHelpError as error:
        if log.is_json():
            fail(ExitCode.USAGE, "no command was given. See `verger --help`.")
        error.show()
        sys.exit(ExitCode.USAGE)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "verger"
        message = " ".join(error.format_message().split())
        fail(ExitCode.USAGE, f"{message}{'' if message[-1] in '.?' else '.'} See `{command} --help`.")
    except BrokenPipeError:  # the reader of our output has closed it, as in `verger schema | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        fail(ExitCode.INTERRUPTED, "interrupted.")
    except Exception as error:
        fail(*exit_code_and_line(error))
    sys.exit(ExitCode.DONE)
