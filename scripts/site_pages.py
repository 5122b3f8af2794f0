"""A hook of MkDocs: pages that lie outside docs/ become pages of the site, and links between pages hold there too.

On GitHub a README stands beside what it describes, and links are paths in the repository. The site has one folder of
pages. So this adds the pages of ``OUTSIDE`` to the site. Each link to a file of the repository becomes a link to its
page, or to the file on GitHub where it has no page. A link to a file that does not exist fails the build.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "charts/verger/README.md": "chart.md",
    "manifests/aws/README.md": "aws.md",
    "manifests/kind/README.md": "kind.md",
}
# The target of a link or an image, relative: no scheme, no leading slash, no anchor alone.
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|/|#)([^)#\s]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside docs/."""
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make the links of one page those of the site."""
    sources = {page: source for source, page in OUTSIDE.items()}
    source = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def replaced(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        if not (ROOT / target).exists():
            raise PluginError(f"{source} links to {match[1]}, which does not exist")
        here = OUTSIDE.get(target, target.removeprefix("docs/") if target.startswith("docs/") else None)
        if target + "/README.md" in OUTSIDE:
            here = OUTSIDE[target + "/README.md"]
        if here is None:
            return f"{config.extra['source']}/blob/main/{target}{match[2] or ''}"
        return here + (match[2] or "")

    return LINK.sub(replaced, markdown)
