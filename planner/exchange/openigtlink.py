"""openigtlink: the plan as OpenIGTLink messages, for navigation programs (pyigtl packs them).

Everything is RAS, mm. An IMAGE can state that it is LPS, but OpenIGTLinkIO, by which Slicer and
PLUS receive, does not look, and would show the bones turned by 180 degrees about the needles. TRAJ,
POINT and POLYDATA state no frame and are taken as RAS. Programs that read no TRAJ show the lines of
POLYDATA. A device name has 20 bytes: a line is called by its rank and side, and its whole id stands
in TRAJ.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from pyigtl import ImageMessage, PointMessage, PolyDataMessage, StringMessage
from pyigtl.messages import MessageBase

from planner.exchange.file_names import title
from planner.exchange.handover import Handover
from planner.exchange.surfaces import path_start
from planner.export.terminology import NEEDLE
from planner.geometry.grid import Float
from planner.model.anatomy import LABELS

NAME_BYTES, GROUP_BYTES, OWNER_BYTES = 64, 32, 20
ENTRY_AND_TARGET = 3
GROUP = "planned, not for clinical use"
FRAME = "All coordinates are patient RAS, mm."
LABEL_MAP = "anatomy"
RAS = np.array([-1.0, -1.0, 1.0])
_OPAQUE = 255


class TrajectoryMessage(MessageBase):  # type: ignore[misc]
    """TRAJ of OpenIGTLink 2 and 3, which pyigtl does not have.

    Elements of 150 bytes: name, group, type, a reserved byte, colour, entry, target, diameter and
    owner (OpenIGTLink, Documents/Protocol/trajectory.md).
    """

    ELEMENT = struct.Struct(f"> {NAME_BYTES}s {GROUP_BYTES}s B B 4B 3f 3f f {OWNER_BYTES}s")

    def __init__(
        self, paths: Sequence[tuple[str, Float, Float, float]], device_name: str, timestamp: float
    ) -> None:
        """Make the message of paths: name, entry and target (3,) RAS mm, and diameter in mm."""
        super().__init__(timestamp=timestamp, device_name=device_name)
        self._message_type = "TRAJ"
        self._valid_message = True
        self.paths = list(paths)

    def _pack_content(self) -> bytes:
        colour = (*(round(_OPAQUE * part) for part in NEEDLE), _OPAQUE)
        return b"".join(
            self.ELEMENT.pack(
                _short(name, NAME_BYTES),
                _short(GROUP, GROUP_BYTES),
                ENTRY_AND_TARGET,
                0,
                *colour,
                *map(float, entry),
                *map(float, target),
                diameter,
                _short(LABEL_MAP, OWNER_BYTES),
            )
            for name, entry, target, diameter in self.paths
        )


def messages(handover: Handover) -> list[bytes]:
    """Pack a plan: what it is, label map with its names, paths and foramina, in this order."""
    moment = max(0.0, handover.moment.timestamp())  # the protocol counts from 1970
    anatomy = handover.opened.anatomy
    about = f"{handover.document.disclaimer} {FRAME}"
    names = {value: name for name, value in LABELS.items() if (anatomy.labels == value).any()}
    made: list[Any] = [
        StringMessage(about, timestamp=moment, device_name="planner"),
        StringMessage(json.dumps(names), timestamp=moment, device_name="anatomy names"),
        ImageMessage(
            np.ascontiguousarray(anatomy.labels.T.astype(np.uint8)),
            ijk_to_world_matrix=np.diag([*RAS, 1.0]) @ anatomy.grid.patient_from_ijk,
            world_coordinate_system="ras",
            timestamp=moment,
            device_name=LABEL_MAP,
        ),
    ]
    ends = [
        (np.asarray(path_start(item)) * RAS, np.asarray(item.tip_mm) * RAS)
        for item in handover.paths
    ]
    paths = [
        (title(item), *points, item.needle.outer_diameter_mm)
        for item, points in zip(handover.paths, ends, strict=True)
    ]
    if paths:
        made.append(TrajectoryMessage(paths, "paths", moment))
    for item, (entry, target) in zip(handover.paths, ends, strict=True):
        # What is cut from a device name must not be the side.
        made.append(_line(entry, target, f"path {item.rank} {item.side}", moment))
    foramina = handover.document.anatomy.foramina
    if foramina:
        made.append(
            PointMessage(
                positions=[(np.asarray(item.centre_mm) * RAS).tolist() for item in foramina],
                names=[f"{item.level} {item.side}" for item in foramina],
                groups=GROUP,
                owners=LABEL_MAP,
                timestamp=moment,
                device_name="foramina",
            )
        )
    return [bytes(message.pack()) for message in made]


def refused(most: int) -> bytes:
    """Return the message for a client for whom there is no room beside so many others."""
    text = f"planner: {most} programs are connected already; close one of them, or wait"
    return bytes(StringMessage(text, device_name="planner").pack())


def _line(entry: Float, target: Float, device: str, moment: float) -> Any:
    return PolyDataMessage(
        points=np.array([entry, target], np.float32),
        lines=np.array([2, 0, 1]),  # a cell: two points, and which
        timestamp=moment,
        device_name=device,
    )


def _short(text: str, size: int) -> bytes:
    """Fit a text into a field of ASCII that ends with a zero."""
    return text.encode("ascii", "replace")[: size - 1].ljust(size, b"\0")
