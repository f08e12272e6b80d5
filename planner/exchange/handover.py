"""What every format is given: the saved plan, its anatomy and CT, and the study it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid

from planner.errors import ConfigurationError
from planner.export.plan_document import PlanDocument, TrajectoryObject
from planner.geometry.grid import Grid
from planner.model.plan import Plan
from planner.model.volume import Volume
from planner.pipeline import OpenPlan
from planner.reading import SliceHeader, iterate_hu, read_datasets, read_planes


@dataclass(frozen=True)
class Settings:
    """What a user may choose.

    reproducible: the same plan gives the same UIDs and times, so the same bytes; otherwise UIDs are
    new every time, as DICOM wants them of an object that was made anew. multiple_of: rows and
    columns of label maps for DICOM stations are padded to a multiple of it. anonymize: nothing that
    is written identifies the patient.
    """

    reproducible: bool = False
    multiple_of: int = 1
    anonymize: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.multiple_of <= 64:
            raise ConfigurationError(
                f"rows and columns can be padded to a multiple of 1 to 64, not {self.multiple_of}."
            )


@dataclass(frozen=True, eq=False)
class Handover:
    """A saved plan as the formats take it.

    folder: the plan's. opened: the plan folder, with its CT where that was given. headers: the
    DICOM headers of the CT's planes in the order of k, one for a multi-frame file; empty without a
    DICOM CT. moment: when the objects are made, with its zone. ct: where the CT lies, where it was
    given. source: what the CT's series is called in its files, and its grid there. renamed: what
    UIDs of its planes are called in what is handed over.
    """

    folder: Path
    opened: OpenPlan
    headers: tuple[Dataset, ...]
    settings: Settings
    moment: datetime
    ct: Path | None = None
    source: tuple[str, Grid] | None = None
    renamed: Callable[[str], str] | None = None

    @classmethod
    def of(cls, folder: Path, ct: Path | None, settings: Settings, dicom: bool = False) -> Self:
        """Open a plan folder; ct: its CT. dicom: whether DICOM objects are wanted.

        Raises ConfigurationError where the folder is no plan's, the CT is another, or DICOM objects
        are wanted of a CT that has no DICOM headers.
        """
        opened = OpenPlan.of(folder, ct=ct)
        headers: tuple[Dataset, ...] = ()
        if dicom and ct is not None and opened.volume is not None:
            series = opened.document.ct.series_instance_uid
            sha256 = opened.document.ct.sha256
            headers = read_datasets(ct, series, opened.volume.grid, sha256)
        created = datetime.fromisoformat(opened.document.provenance.created)
        moment = created if settings.reproducible else datetime.now(created.tzinfo)
        place = None if ct is None else Path(ct)
        source = None
        if opened.volume is not None:
            source = (opened.document.ct.series_instance_uid, opened.volume.grid)
        return cls(Path(folder), opened, headers, settings, moment, place, source)

    @property
    def document(self) -> PlanDocument:
        """The plan.json that is exported."""
        return self.opened.document

    @property
    def volume(self) -> Volume | None:
        """The plan's CT, where it was given."""
        return self.opened.volume

    @cached_property
    def plan(self) -> Plan:
        """The plan that was saved, rejected paths included."""
        return self.opened.plan(self.folder)

    @cached_property
    def planes(self) -> tuple[SliceHeader, ...]:
        """Where each plane of a DICOM CT lies, in the order of k, as it was acquired.

        Raises ConfigurationError without a DICOM CT.
        """
        return tuple(self._named(plane) for plane in read_planes(*self._dicom_ct()))

    def hu(self) -> Iterator[tuple[SliceHeader, NDArray[np.int16]]]:
        """Yield each plane of a DICOM CT and its (rows, columns) HU, in the order of k.

        Raises ConfigurationError without a DICOM CT.
        """
        for plane, values in iterate_hu(*self._dicom_ct()):
            yield self._named(plane), values

    def _named(self, plane: SliceHeader) -> SliceHeader:
        """Give a plane the UIDs that it has in what is handed over."""
        if self.renamed is None:
            return plane
        uids = ("sop_uid", "study_uid", "series_uid", "frame_of_reference_uid")
        names = {name: getattr(plane, name) for name in uids}
        new: dict[str, Any] = {name: self.renamed(uid) for name, uid in names.items() if uid}
        return replace(plane, description="", **new)

    def _dicom_ct(self) -> tuple[Path, str, Grid, str]:
        if self.ct is None or self.source is None or not self.headers:
            raise ConfigurationError("this needs the CT as DICOM; give it with --ct.")
        return self.ct, *self.source, self.document.ct.sha256

    @cached_property
    def kept(self) -> tuple[Plan, PlanDocument]:
        """The plan and its document without the paths that a reviewer rejected.

        Ranks stay as they were given, so that a path is called the same everywhere.
        """
        names = {item.id for item in self.paths}
        pairs = [pair for pair in self.document.pairs if names.issuperset(pair.trajectories)]
        document = self.document.model_copy(update={"trajectories": self.paths, "pairs": pairs})
        plan = replace(
            self.plan,
            trajectories=tuple(item for item in self.plan.trajectories if item.id in names),
            pairs=tuple(pair for pair in self.plan.pairs if names.issuperset(pair.trajectories)),
        )
        return plan, document

    @property
    def paths(self) -> list[TrajectoryObject]:
        """The paths that are handed over, best first: all but those that a reviewer rejected.

        A needle on a navigation screen that somebody had rejected would be worse than none.
        """
        return [item for item in self.document.trajectories if not is_rejected(item)]

    @property
    def rejected(self) -> list[str]:
        """Ids of the paths that are left out."""
        return [item.id for item in self.document.trajectories if is_rejected(item)]

    def uid(self, *what: str) -> UID:
        """Make the UID of something that is exported, such as ("dicom-seg", "instance")."""
        if not self.settings.reproducible:
            return generate_uid()
        # Whatever gives other bytes gives another UID: the settings, and the program that writes.
        made = [self.opened.plan_sha256, version("planner"), repr(self.settings)]
        return generate_uid(entropy_srcs=[*made, *what])


def is_rejected(item: TrajectoryObject) -> bool:
    """Whether a reviewer rejected a path."""
    return item.review is not None and item.review.verdict == "rejected"
