"""Make the README's picture: plan on sample_data and keep the overview at a smaller size.

    python scripts/make_picture.py                 plans, then writes sample_data/overview.png
    python scripts/make_picture.py --plan FOLDER   takes the overview of a plan made before

The overview is scaled to WIDTH pixels and stored with a palette of COLOURS; nothing else is done.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "sample_data" / "overview.png"
WIDTH, COLOURS = 1600, 256
MOST_BYTES = 700_000


def shrink(source: Path, target: Path) -> None:
    """Scale a picture to WIDTH and store it with a palette."""
    with Image.open(source) as picture:
        size = (WIDTH, round(picture.height * WIDTH / picture.width))
        small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    palette = small.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    palette.save(target, "PNG", optimize=True)


def main() -> int:
    """Write the picture; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plan", type=Path, help="a plan of sample_data made before")
    folder = parser.parse_args().plan
    with tempfile.TemporaryDirectory() as name:
        if folder is None:
            folder = Path(name) / "plan"
            planner = [sys.executable, "-c", "from planner.cli import main; main()"]
            command = [*planner, "plan", str(ROOT / "sample_data"), "--output", str(folder), "-q"]
            subprocess.run(command, check=True)
        shrink(folder / "overview.png", PICTURE)
    size = PICTURE.stat().st_size
    print(f"{PICTURE.relative_to(ROOT)}: {size / 1000:.0f} kB")
    return 1 if size > MOST_BYTES else 0


if __name__ == "__main__":
    sys.exit(main())
