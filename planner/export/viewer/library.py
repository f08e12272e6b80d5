"""The scripts that a page with a scene carries, and the policy that lets only them run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources

PACKAGE = "k3d"
# K3D's bundle asks an AMD loader to define it; this is all of one that it needs. It also puts the
# fonts of formulas into the page, with addresses that are not there; the scene shows no formula.
LOADER = """window.define = (name, needs, make) => {
  window.k3dLibrary = make();
  for (const each of document.querySelectorAll("style")) {
    if (each.textContent.includes("KaTeX")) {
      each.textContent = each.textContent.replace(/@font-face\\s*\\{[^}]*\\}/g, "");
    }
  }
};"""


@dataclass(frozen=True)
class Library:
    """Scripts in the order in which a page runs them, and the licences that go with them.

    notice: the licence text of K3D and the notices of what its bundle contains.
    """

    version: str
    notice: str
    bundle: str
    viewer: str

    @property
    def scripts(self) -> tuple[str, ...]:
        """Every script of the page, in order."""
        return (LOADER, self.bundle, self.viewer)


@cache
def library() -> Library:
    """Read K3D's bundle out of the installed package, and our own script out of ours."""
    files = resources.files(PACKAGE) / "static"
    distribution = metadata.distribution(PACKAGE)
    notes = [(files / "standalone.js.LICENSE.txt").read_text(encoding="utf-8")]
    for path in distribution.files or ():
        if path.name.upper().startswith("LICENSE") and ".dist-info" in str(path):
            notes.insert(0, str(path.read_text(encoding="utf-8")))
    return Library(
        version=distribution.version,
        notice="\n".join(note.strip() for note in notes).replace("--", "- -"),
        bundle=(files / "standalone.js").read_text(encoding="utf-8"),
        viewer=(resources.files(__package__) / "viewer.js").read_text(encoding="utf-8"),
    )


def script_policy(scripts: Sequence[str]) -> str:
    """Write the value of script-src that lets exactly these inline scripts run."""
    return " ".join(f"'sha256-{_digest(text)}'" for text in scripts) or "'none'"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
