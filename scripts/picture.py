"""README's picture of a report: PYTHONPATH=. python scripts/picture.py PAGE PICTURE, with Chromium on the PATH."""

from __future__ import annotations

import base64
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.browser import Browser

WIDTH, MARGIN = 840, 28
# Where a dot is, as if somebody pointed at it.
POINTED = """(() => {
document.documentElement.style.scrollBehavior = 'auto';
const of = document.querySelectorAll('#cloud g.of'), dot = of[Math.floor(of.length / 2)].querySelector('circle');
dot.scrollIntoView({block: 'center'});
const box = dot.getBoundingClientRect();
return [box.x + box.width / 2, box.y + box.height / 2];
})()"""
BOX = (
    "(() => { const b = document.querySelector('%s').getBoundingClientRect(); return [scrollY + b.top, b.height]; })()"
)


def taken(browser: Browser, selector: str) -> Image.Image:
    """One part of the page."""
    top, height = browser.evaluate(BOX % selector)
    clip = {"x": 0, "y": top, "width": WIDTH, "height": height, "scale": 1}
    shot = browser.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
    return Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")


def main(page: str, picture: str) -> None:
    """Overview and scatter, side by side."""
    with tempfile.TemporaryDirectory() as profile, Browser(Path(profile)) as browser:
        browser.screen(WIDTH, 1100)
        browser.open(Path(page))
        overview = taken(browser, "#overview")
        browser.mouse("mouseMoved", *browser.evaluate(POINTED))
        scatter = taken(browser, "#scatter")
    size = (2 * WIDTH, max(overview.height, scatter.height) + 2 * MARGIN)
    whole = Image.new("RGB", size, overview.getpixel((1, 1)))
    whole.paste(overview, (0, MARGIN))
    whole.paste(scatter, (WIDTH, MARGIN))
    whole.save(picture, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
