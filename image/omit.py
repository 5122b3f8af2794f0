"""Remove from a folder what a list names: omit.py LIST FOLDER. A pattern that matches nothing is stale, and fails.

The list has a glob a line, below the folder that the last line in brackets names. A glob after `!` keeps what an
earlier one names; `#` begins a comment.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def named(text: str, root: Path) -> tuple[set[Path], list[str]]:
    """What a list names below a folder, and those of its patterns that match nothing."""
    found: set[Path] = set()
    stale = []
    below = "."
    for line in text.splitlines():
        pattern = line.partition("#")[0].strip()
        if pattern.startswith("["):
            below = pattern.strip("[]")
        elif pattern:
            matches = set((root / below).glob(pattern.removeprefix("!")))
            found = found - matches if pattern.startswith("!") else found | matches
            stale += [] if matches else [f"{below}/{pattern}"]
    return found, stale


def remove(paths: set[Path]) -> None:
    """Remove files, and folders with all that is in them."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)  # it went with its folder


if __name__ == "__main__":
    paths, stale = named(Path(sys.argv[1]).read_text(), Path(sys.argv[2]))
    if stale:
        sys.exit(f"{sys.argv[1]}: nothing matches {', '.join(stale)}. Remove these patterns, or mend them.")
    remove(paths)
