"""The commands: what each one calls, and what it prints."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

import rich_click as click
from rich.text import Text

from verger import __version__
from verger.cli.exit_codes import reporting, tell_kubernetes
from verger.cli.options import PRECEDENCE, settings
from verger.config import (
    HEADINGS,
    CommandSettings,
    CompactSettings,
    DoctorSettings,
    PruneSettings,
    ResultSettings,
    RunConfig,
)
from verger.errors import ExitCode, InterruptedRunError, NothingToReadError
from verger.progress import Progress
from verger.storage.uri import canonical

# How a store is reached and where it stands, for commands that are no runs.
_ACCESS = ("Store", "Residency")


def _not_empty(_: click.Context, __: click.Parameter, given: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """Refuse an empty place, as of a shell's variable that is not set: it would mean the current folder."""
    if not all(place.strip() for place in ([given] if isinstance(given, str) else given)):
        raise click.BadParameter("it is empty.")
    return given


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", message="verger %(version)s", help="Show the version.")
@click.command_panel("Runs", commands=["run", "plan", "project"])
@click.command_panel("Results", commands=["identify", "report", "export"])
@click.command_panel("Maintenance", commands=["compact", "prune", "doctor", "prepare", "sample", "schema"])
def verger() -> None:
    """Turn a folder of photographs into a table of features and their principal components."""


@verger.command(epilog=PRECEDENCE)
@settings()
def run(config: RunConfig) -> None:
    """Compute missing features, fit the principal components, and write the table and its report."""
    with reporting(config, InterruptedRunError) as progress:
        from verger import pipeline
        from verger.cli import summary

        summary.show(progress, pipeline.run(config, progress=progress))


@verger.command(epilog=PRECEDENCE + " Network and components are those of the run.")
@click.option("--run", "run_uri", required=True, callback=_not_empty, metavar="URI", panel=HEADINGS[0],
              help="Run whose components to use, or an output: its latest run.")  # fmt: skip
@settings(headings=[heading for heading in HEADINGS if heading not in ("Network", "Components")])
def project(config: RunConfig, run_uri: str) -> None:
    """Project photographs onto the components of an earlier run, without fitting again.

    The result is a run of its own, and becomes the latest run of its output and name. Choose another --output or
    --name to keep the earlier latest run.
    """
    with reporting(config, InterruptedRunError) as progress:
        from verger import pipeline
        from verger.cli import summary

        summary.show(progress, pipeline.project(config, run_uri, progress=progress))


@verger.command(epilog=PRECEDENCE)
@click.option("--nodes", default=1, show_default=True, type=click.IntRange(min=1), help="Nodes to estimate for.")
@click.option("--node-cores", type=click.IntRange(min=1), help="Cores of a node; default: --cores, or this machine's.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@settings()
def plan(config: RunConfig, nodes: int, node_cores: int | None, as_json: bool) -> None:
    """Estimate what a run would compute, how long it would take and what it would cost; write nothing."""
    from verger.planning.plan import plan as estimate

    planned = estimate(config, nodes, node_cores)
    if as_json:
        click.echo(json.dumps(planned.as_dict(), indent=2))
    else:
        from rich.console import Console

        from verger.planning import plan_table

        console = Console(highlight=False)
        with console.capture() as drawn:
            console.print(plan_table.table(planned))
        click.echo("\n".join(line.rstrip() for line in drawn.get().splitlines()))


@verger.command()
@click.option("--run", "run_uri", required=True, callback=_not_empty, metavar="URI", panel=HEADINGS[0],
              help="Run whose report to draw, or an output: its latest run.")  # fmt: skip
@settings(ResultSettings, _ACCESS)
def report(config: ResultSettings, run_uri: str) -> None:
    """Draw the report of a finished run again, without Spark."""
    with reporting(config) as progress:
        from verger.insight.report.writer import redraw

        page = redraw(config, run_uri, progress)
        progress.say(f"Report: {page}")
        progress.finish(report=page)


@verger.command()
@click.argument("photographs", nargs=-1, required=True, callback=_not_empty, metavar="PHOTO...")
@click.option("--run", "run_uri", required=True, callback=_not_empty, metavar="URI", panel=HEADINGS[0],
              help="Run whose classifier to use, or an output: its latest run.")  # fmt: skip
@click.option("--top", default=3, show_default=True, metavar="N", type=click.IntRange(1, 1000),
              help="Number of classes, and of nearest photographs, to list.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per photograph, each on a line.")
@settings(ResultSettings, _ACCESS)
def identify(config: ResultSettings, photographs: tuple[str, ...], run_uri: str, top: int, as_json: bool) -> None:
    """Classify photographs by the classifier of a finished run, without Spark.

    PHOTO is a file, an object in a bucket, or a folder of either. A photograph that cannot be read is reported, and
    the others are still classified. Exit code 3 if none could be read.
    """
    with reporting(config) as progress:
        from verger.insight.identify import text as identify_text
        from verger.insight.identify.identification import identify as looked

        counts, memory = {"identified": 0, "none_of_these": 0, "unreadable": 0}, None
        for found, memory in looked(config, run_uri, photographs, top, progress):
            counts["unreadable" if found.error else "identified"] += 1
            counts["none_of_these"] += found.is_none
            if as_json:
                click.echo(json.dumps(found.as_dict()))  # in ASCII: names of files may be no UTF-8
            else:
                _print(identify_text.lines(found, memory))
        if memory is None:
            raise NothingToReadError("no photograph could be read", "Check the paths")
        if not as_json:
            _print(identify_text.closing(memory))
        progress.finish(**counts)


@verger.command()
@click.option("--run", "run_uri", required=True, callback=_not_empty, metavar="URI", panel=HEADINGS[0],
              help="Run whose classifier to export, or an output: its latest run.")  # fmt: skip
@click.option("--photographs", metavar="N", type=click.IntRange(min=1), panel=HEADINGS[0],
              help="Photographs to compare the models on; default: 300, or 50 for a slow network.")  # fmt: skip
@settings(ResultSettings, _ACCESS)
def export(config: ResultSettings, run_uri: str, photographs: int | None) -> None:
    """Write the classifier of a run as a TensorFlow Lite model, for a phone.

    The model takes a photograph and returns probabilities. It is written in float32 and with 8-bit weights, into the
    run's folder model/, after a comparison with the run. An earlier export is replaced.
    """
    with reporting(config) as progress:
        from verger.insight.export import exporter
        from verger.insight.export import text as export_text

        record = exporter.export(config, run_uri, photographs, progress)
        for line in export_text.lines(record):
            progress.say(line)
        progress.finish(**export_text.figures(record))


@verger.command()
@click.option("--keep-runs", metavar="N", type=click.IntRange(min=1), help="Delete all runs but the last N.")
@click.option("--gone", is_flag=True, help="Delete what is stored of photographs that are gone or were replaced.")
@settings(PruneSettings, ("Where", *_ACCESS), only=["output"])
def prune(config: PruneSettings, keep_runs: int | None, gone: bool) -> None:
    """Delete old runs, and what is stored of photographs that are gone or were replaced.

    With VERGER_LOG_LEVEL=info it names each of these photographs. Older runs have rows of them until --keep-runs
    deletes these runs.
    """
    if keep_runs is None and not gone:
        raise click.UsageError("nothing to prune: give --keep-runs N, --gone or both.")
    with reporting(config) as progress:
        from verger import pipeline

        removed = pipeline.prune(config, keep_runs, gone, progress)
        progress.say(f"Removed: {', '.join(f'{what} {count:,}' for what, count in removed.items())}.")
        progress.finish(**removed)


@verger.command()
@settings(CompactSettings, ("Where", *_ACCESS, "Execution"), only=["output"])
def compact(config: CompactSettings) -> None:
    """Merge the feature store's small files into files of about 128 MB.

    The files that were merged are deleted by the first compaction after 24 hours, so that no run loses a file that it
    is reading.
    """
    with reporting(config) as progress:
        from verger import pipeline

        counts = pipeline.compact(config, progress=progress)
        progress.say(
            f"{counts['files_before']:,} files are {counts['files_after']:,} now; {counts['rows']:,} rows were copied, "
            f"{counts['deleted']:,} files that earlier compactions had replaced are deleted."
        )
        progress.finish(**counts)


@verger.command(epilog=PRECEDENCE)
@click.option(
    "--fix", is_flag=True, help="Abort unfinished uploads below the output that are older than --stale-after."
)
@click.option("--stale-after", metavar="HOURS", default=24.0, show_default=True, type=click.FloatRange(min=0),
              help="Age of an unfinished upload that no run is writing any more.")  # fmt: skip
@settings(DoctorSettings)
def doctor(config: DoctorSettings, fix: bool, stale_after: float) -> None:
    """Check Java, Spark, TensorFlow, weights, stores and memory, one line each.

    Exit code 0 if all checks pass, else the code of the first that fails: 2 for something that is not installed,
    3 or 4 for a folder or store, 5 for residency, 7 for the weights, 8 for memory or disk.
    """
    from verger.planning import doctor as examination

    code = ExitCode.DONE
    for finding in examination.examine(config, stale_after, fix):
        click.echo(str(finding))
        if not code and finding.exit_code:
            code = finding.exit_code
            tell_kubernetes(f"{finding.name}: {finding.line}")
    raise SystemExit(code)


@verger.command()
@settings(CommandSettings, ())
def prepare(config: CommandSettings) -> None:
    """Keep the classes of Spark ready on this machine, so that each run starts seconds sooner.

    It takes a minute, and 400 MB in the environment of this Python. Run it again after an update of Java or Verger:
    until then Spark starts as it does without it.
    """
    with reporting(config) as progress:
        from verger import pipeline

        folder, size = pipeline.prepare(progress)
        progress.say(f"{folder}: {size / 1e6:,.0f} MB of classes, from which Spark starts from now on.")
        progress.finish(folder=str(folder), bytes=size)


@verger.command()
@click.argument("folder", callback=_not_empty, metavar="DIR|URI")
@click.option(
    "--photographs", default=300, show_default=True, type=click.IntRange(min=1), help="Number of photographs to draw."
)
@click.option(
    "--seed", default=0, show_default=True, help="Seed of the random numbers: another seed draws other photographs."
)
@settings(CommandSettings, _ACCESS)
def sample(config: CommandSettings, folder: str, photographs: int, seed: int) -> None:
    """Draw synthetic photographs of fruit into a folder or bucket, to try Verger with."""
    from verger.photographs.synthetic import draw
    from verger.residency.preflight import check_access
    from verger.storage.stores import Stores

    stores = Stores()
    check_access(stores, {"output": canonical(folder)}, config, written={"output"})
    drawn = draw(folder, photographs, seed, stores)
    with Progress.of(config) as progress:
        progress.say(
            f"{folder}: {drawn.photographs:,} photographs, {drawn.odd} of them odd, and {drawn.broken} broken."
        )
        progress.say(f"Next: verger run --input {shlex.quote(folder)} --output out")


@verger.command()
@click.option("--manifest", "of_manifest", is_flag=True, help="Print the schema of manifest.json instead.")
def schema(of_manifest: bool) -> None:
    """Print all settings, or the manifest, as JSON Schema."""
    described = RunConfig.model_json_schema
    if of_manifest:
        from verger.tables.manifest import Manifest

        described = Manifest.model_json_schema
    dialect = "https://json-schema.org/draft/2020-12/schema"
    click.echo(json.dumps({"$schema": dialect, **described()}, indent=2))


def _print(lines: Sequence[Text]) -> None:
    """Lines on stdout: in colour on a terminal, and never broken or cut."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    with console.capture() as drawn:  # to write itself, it would end the process where nobody reads on
        for line in lines:
            console.print(line)
    click.echo(drawn.get(), nl=False, color=True)
