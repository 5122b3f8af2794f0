"""Folders that hold no photographs of the user's, and which folders of a disk are entered.

NAS makers, operating systems, image managers and sync tools keep folders of their own among the photographs, with
thumbnails, deleted files, snapshots and earlier versions. Names that begin with a dot are hidden anyway: `.@__thumb`
(QNAP), `.AppleDouble`, `.Trashes` and the files `._*` (macOS), `.Trash-1000` (freedesktop.org's trash specification),
`.zfs`, `.snapshot` (NetApp), `.stversions` (Syncthing), `.dropbox.cache`, `.picasaoriginals`, `.dtrash` (digiKam) and
`.thumbnails`. The other names are listed here, each with where it is from.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from fnmatch import translate

from verger.photographs.suffixes import BROKEN_LINK, HIDDEN_FOLDER, REPEATED_FOLDER, SUFFIXES
from verger.storage.base import WalkPolicy

_NAMES = (
    # NAS
    "@eaDir",  # Synology DSM: thumbnails and extended attributes, beside every indexed file
    "#recycle",  # Synology, "Create a Shared Folder"; TerraMaster TOS, "Shared Folders"
    "#snapshot",  # Synology, Snapshot Replication, where snapshots are made visible
    "@tmp", "@sharebin", "@sharesnap",  # Synology DSM: its own working folders
    "@Recycle",  # QNAP QTS, "Network Recycle Bin"
    "@Recently-Snapshot",  # QNAP QTS, "Snapshot Directory"
    "@Transcode",  # QNAP Multimedia Console: converted files
    "~snapshot",  # NetApp ONTAP, "Snapshot copies", as SMB clients see them
    # operating systems
    "$RECYCLE.BIN",  # Windows: deleted files. RECYCLER and RECYCLED, of Windows before Vista, may be labels
    "System Volume Information",  # Windows: restore points and indexes
    "found.000", "LOST.DIR", "lost+found",  # what a check of the disk recovered: Windows, Android, Linux (fsck(8))
    "__MACOSX",  # macOS, Archive Utility: resource forks in a ZIP file
    "Network Trash Folder", "Temporary Items",  # netatalk.io, "Special Files and Folders": macOS on AFP shares
    "TheVolumeSettingsFolder",  # the same page
    "Backups.backupdb",  # macOS, Time Machine: earlier versions of a whole disk
    # image managers
    "*.photoslibrary", "*.photolibrary", "*.aplibrary",  # Apple Photos, iPhoto, Aperture: packages with thumbnails
    "*.migratedphotolibrary", "*.migratedaplibrary",  # what Apple Photos leaves of these two
    "iPod Photo Cache",  # iPhoto, iTunes
    "*.lrdata", "*.lrlibrary",  # Adobe Lightroom Classic: previews; Lightroom: library with previews
    "CaptureOne/Cache",  # Capture One, "What's inside the CaptureOne folder": thumbnails and proxies of a session
    "*.cocatalog",  # Capture One, "The Cache folder": a catalogue with its thumbnails
    "THMBNL",  # Sony cameras, PRIVATE/M4ROOT/THMBNL: thumbnails of videos
    # sync tools and clouds
    "files_trashbin", "files_versions", "appdata_oc*",  # Nextcloud's data directory: trash, versions, previews
)  # fmt: skip


def _pattern(name: str) -> str:
    """A name of the list as a regular expression; its asterisks and question marks match no slash."""
    return re.escape(name).replace(r"\*", "[^/]+").replace(r"\?", "[^/]")


_LISTED = f"(?i:{'|'.join(map(_pattern, _NAMES))})"
_DOTTED = r"\.(?:\.?[^/.]|\.\.)"  # begins with a dot; "." and ".." are no names, but may be part of a key
HIDDEN_PATTERN = f"(?:^|/)(?:{_DOTTED}|{_LISTED}/)"
"""Regular expression, for RE2 and Python alike, that finds hidden names in a path below the input."""

_HIDDEN = re.compile(HIDDEN_PATTERN)


class PhotographFolders(WalkPolicy):
    """Hidden and excluded folders are not entered; what is passed over is counted.

    Parameters
    ----------
    root : str
        The folder that is listed, canonical. It may be hidden itself: names count below it.
    exclude : tuple of str
        Globs of ``--exclude``.
    enter_excluded : bool
        Whether excluded folders are entered where they may be.

    Attributes
    ----------
    ignored : Counter of str
        How many hidden folders, folders met before and broken links were passed over, by the keys of
        `verger.photographs.suffixes`.
    excluded : list of str
        Excluded folders that were not entered: what is in them is not known.
    """

    def __init__(self, root: str, exclude: tuple[str, ...] = (), enter_excluded: bool = False) -> None:
        self._start = len(root.rstrip("/")) + 1
        self._exclude = compile_globs(exclude)
        # A glob that ends in an asterisk and matches "a/" matches whatever is below it.
        self._exclude_below = compile_globs(tuple(glob for glob in exclude if glob.endswith("*")))
        self._enter_excluded = enter_excluded
        self.ignored: Counter[str] = Counter()
        self.excluded: list[str] = []

    def enters(self, folder: str) -> bool:
        below = folder[self._start :] + "/"
        if _HIDDEN.search(below):
            self.ignored[HIDDEN_FOLDER] += 1
            return False
        if not self._enter_excluded and matches(self._exclude_below, below):
            self.excluded.append(folder)
            return False
        return True

    def ignores_permission_error(self, path: str) -> bool:
        below = path[self._start :]
        if _HIDDEN.search(below + "/"):
            self.ignored[HIDDEN_FOLDER] += 1
            return True
        names = (below, below + "/", os.path.basename(below))
        if any(matches(self._exclude, name) for name in names):
            self.excluded.append(path)
            return True
        return False

    def found_entered_folder(self, folder: str) -> None:
        self.ignored[REPEATED_FOLDER] += 1

    def found_broken_link(self, path: str) -> None:
        if path.lower().endswith(SUFFIXES) and not _HIDDEN.search(path[self._start :]):
            self.ignored[BROKEN_LINK] += 1


def compile_globs(globs: tuple[str, ...]) -> re.Pattern[str] | None:
    """One regular expression for several globs.

    Parameters
    ----------
    globs : tuple of str
        As `fnmatch` reads them; an asterisk matches slashes too.

    Returns
    -------
    re.Pattern or None
        For `matches`; None where there is no glob.
    """
    return re.compile("|".join(translate(unicodedata.normalize("NFC", glob)) for glob in globs)) if globs else None


def matches(globs: re.Pattern[str] | None, name: str) -> bool:
    """Whether a name matches one of several globs, however its accents are encoded.

    macOS stores an accent as a character of its own (NFD), while a keyboard gives one character for both (NFC).

    Parameters
    ----------
    globs : re.Pattern or None
        Of `compile_globs`.
    name : str
        A label or a path below the input.
    """
    return globs is not None and globs.match(unicodedata.normalize("NFC", name)) is not None
