"""Who a CT belongs to, read only where a user asks for it by name.

Nothing else in the program reads these elements, and nothing keeps them: they go from the header
to the page that the user asked for.
"""

from __future__ import annotations

from pathlib import Path

import pydicom

from planner.errors import ConfigurationError
from planner.reading.quiet import quiet_pydicom
from planner.reading.series import find_stacks, refuse_unreadable
from planner.reading.source import opened
from planner.reading.values import legible

ELEMENTS = {
    "Patient": "PatientName",
    "Patient ID": "PatientID",
    "Born": "PatientBirthDate",
    "Sex": "PatientSex",
    "Study date": "StudyDate",
    "Accession number": "AccessionNumber",
    "Institution": "InstitutionName",
}


def read_identity(path: Path | str, series: str) -> dict[str, str]:
    """Read name and value of what identifies the patient of a series; empty elements are left out.

    path: what `read_ct` takes. Raises ConfigurationError where the CT has no such elements.
    """
    with opened(Path(path)) as source:
        if source.image is not None:
            raise ConfigurationError(
                f"{path} is a volume file, which names no patient; give the DICOM files, or leave "
                "--identify out."
            )
        findings = find_stacks(source)
        refuse_unreadable(source, findings)
        planes = [stack.first for stack in findings.stacks if stack.first.series_uid == series]
        if not planes:
            raise ConfigurationError(
                f"{path} holds no series {series}, the one that was planned on."
            )
        with quiet_pydicom():
            dataset = pydicom.dcmread(planes[0].path, stop_before_pixels=True, force=True)
            found = {
                name: legible(dataset, keyword).replace("^", " ").strip()
                for name, keyword in ELEMENTS.items()
            }
    known = {name: value for name, value in found.items() if value}
    return known or {"Patient": "the CT names nobody"}
