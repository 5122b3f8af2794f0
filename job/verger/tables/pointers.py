"""What is in the files that point at runs: latest.json, names/<name>.json and those in snapshots/."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from verger.jsonable import dump
from verger.tables.manifest_parts import Part


class FailedRun(Part):
    """A failed run, as names/<name>.json tells of it."""

    run_id: str = Field(description="The failed run.")
    failure: str = Field(description="Path of its failure.json, relative to the output.")
    started_at: str = Field(description="When it began, ISO 8601 in UTC.")
    finished_at: str = Field(description="When it failed, ISO 8601 in UTC.")
    exit_code: int = Field(description="Exit code of the process.")
    message: str = Field(description="What failed, in one line.")


def _none_if_damaged(failed: object, validate: ValidatorFunctionWrapHandler) -> FailedRun | None:
    """What a pointer tells of a failed run. It must not hide the finished run, so it counts as absent when damaged."""
    try:
        found: FailedRun | None = validate(failed)
    except ValidationError:
        return None
    return found


class Pointer(Part):
    """The latest finished run: of the output, of one name, or of one selection; of one name also what failed since."""

    run_id: str | None = Field(
        description="The latest finished run; null where none of this name has finished, but one has failed."
    )
    manifest: str | None = Field(
        default=None, description="Path of its manifest.json, relative to the output; null where run_id is."
    )
    started_at: str = Field(default="", description="When it began, ISO 8601 in UTC; absent where run_id is null.")
    failed: Annotated[FailedRun | None, WrapValidator(_none_if_damaged)] = Field(
        default=None,
        description="In names/ alone: the failed run that started last, where it started after the finished one.",
    )


def moved(present: bytes | None, pointer: Pointer) -> bytes | None:
    """The content of a file that is to point at a finished run.

    A failed run that the file tells of stays where it started after the finished one. What cannot be read of it goes.

    Parameters
    ----------
    present : bytes or None
        What the file holds; None where there is none. A damaged one is replaced.
    pointer : Pointer
        The finished run.

    Returns
    -------
    bytes or None
        None where the file is to stay as it is, as it points at a run that started later.
    """
    before = _keys(present)
    if _started_at(before) >= pointer.started_at:
        return None
    failed = _failed(before)
    kept = {"failed": failed} if _started_at(failed) > pointer.started_at else {}
    return dump(pointer.as_dict() | kept)


def with_failure(present: bytes | None, failed: FailedRun) -> bytes | None:
    """The content of a file that is to tell of a failed run. The finished run that it points at stays.

    A failed run that the file tells of is replaced where it cannot be read.

    Parameters
    ----------
    present : bytes or None
        What the file holds; None where there is none.
    failed : FailedRun
        The failed run.

    Returns
    -------
    bytes or None
        None where the file is to stay as it is: a run that started later has finished or failed, or the file is
        damaged, so that it does not say which run had finished.
    """
    before = _keys(present)
    if present is not None and "run_id" not in before:
        return None
    if max(_started_at(before), _started_at(_failed(before))) >= failed.started_at:
        return None
    nothing: dict[str, Any] = Pointer(run_id=None, manifest=None).as_dict()
    return dump(nothing | before | {"failed": failed.as_dict()})


def _keys(present: bytes | None) -> dict[str, Any]:
    try:
        document = json.loads(present or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _failed(pointer: dict[str, Any]) -> dict[str, Any]:
    """The failed run that a pointer tells of, with keys that a newer version has added; nothing where it is damaged."""
    try:
        return FailedRun.model_validate(pointer.get("failed")).as_dict()
    except ValidationError:
        return {}


def _started_at(run: dict[str, Any]) -> str:
    """When a run began, as a pointer or its ``failed`` says it; where it does not say so, before all others."""
    started_at = run.get("started_at")
    return started_at if isinstance(started_at, str) else ""
