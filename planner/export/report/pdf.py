"""The report as PDF: the same page, printed by WeasyPrint, which runs no script."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from planner.errors import ConfigurationError

QUALITY = 88
EPOCH = "SOURCE_DATE_EPOCH"
"""What fontTools stamps fonts with, in place of the time: reproducible-builds.org."""
SCRIPTS = re.compile(r"<script\b.*?</script>|<!--.*?-->", re.DOTALL)
PICTURES = re.compile(r"data:image/webp;base64,([A-Za-z0-9+/=]+)")
MISSING = (
    "a PDF needs WeasyPrint, which is not installed. Install it with the extra: "
    "pip install 'planner[pdf]'; or open report.html and print it to PDF in a browser."
)
MISSING_LIBRARY = (
    "WeasyPrint is installed but cannot load the text library Pango that it draws with ({error}). "
    "Install Pango (Debian and Ubuntu: libpango-1.0-0 libpangoft2-1.0-0), or open report.html and "
    "print it to PDF in a browser."
)


def weasyprint() -> Any:
    """Return the module that prints; raises ConfigurationError where it cannot."""
    try:
        import weasyprint
    except ModuleNotFoundError as error:
        raise ConfigurationError(MISSING) from error
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(MISSING_LIBRARY.format(error=reason)) from error
    return weasyprint


def write_pdf(html: str, path: Path) -> None:
    """Print a report's HTML to a PDF file; raises ConfigurationError, see weasyprint."""
    printer = weasyprint()
    # Pictures go into a PDF as they are only as JPEG; anything else swells it.
    still = PICTURES.sub(lambda found: _as_jpeg(found.group(1)), SCRIPTS.sub("", html))
    fetcher = printer.urls.URLFetcher(allowed_protocols=["data"])  # what is embedded, no more
    with _same_date():
        printer.HTML(string=still, url_fetcher=fetcher).write_pdf(path)


@contextmanager
def _same_date() -> Iterator[None]:
    """Fonts embedded in a PDF carry the time of their making, unless the environment names one."""
    kept = os.environ.get(EPOCH)
    os.environ.setdefault(EPOCH, "0")
    try:
        yield
    finally:
        if kept is None:
            os.environ.pop(EPOCH, None)


def _as_jpeg(webp: str) -> str:
    out = io.BytesIO()
    picture = Image.open(io.BytesIO(base64.b64decode(webp))).convert("RGB")
    picture.save(out, format="jpeg", quality=QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")
