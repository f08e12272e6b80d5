"""Figures for the hands: how a trajectory is set up under CT and under a C-arm."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BeamView:
    """Where a C-arm's beam comes from, by patient axes.

    rotation_deg: about the patient's long axis, 0 for a straight AP or PA beam, positive where the
    dorsal end of the beam swings to the patient's left. tilt_deg: positive where it swings to the
    head.
    """

    rotation_deg: float
    tilt_deg: float


@dataclass(frozen=True)
class Guidance:
    """Set-up of one trajectory; directions are the patient's own, whatever way he lies.

    skin_in_view: whether the CT shows the skin behind the needle; where not, the skin's figures are
    those of the last point in view. skin_slice: number of the CT image at the skin entry, counted
    from 1 in the volume's order; 0 where the skin is outside it. skin_z_mm: patient z of that
    image, the table position up to the scanner's own zero. in_plane_deg: angle of the needle, seen
    in the axial plane, to straight posterior-anterior; positive with the tip to the patient's left.
    cranial_deg: angle out of the axial plane; positive with the tip cranial. gantry_tilt_deg: tilt
    about the left-right axis that brings the needle into the slice; positive with the slice's
    anterior edge towards the head. skin_lateral_mm: skin entry from the sacrum's midplane
    towards the needle's side; negative across the midline.
    skin_below_spine_mm, skin_medial_of_spine_mm: skin entry below and medial of the posterior
    superior iliac spine of its side, None where there is no hip. skin_to_bone_mm, skin_to_tip_mm:
    depths. needle_length_mm: shortest usual needle that reaches, None where none does.
    down_the_barrel: the beam along the needle. views: AP, outlet, inlet and lateral for this
    sacrum. entry: the bone entry in words.
    """

    skin_in_view: bool
    skin_slice: int
    skin_z_mm: float
    in_plane_deg: float
    cranial_deg: float
    gantry_tilt_deg: float
    skin_lateral_mm: float
    skin_below_spine_mm: float | None
    skin_medial_of_spine_mm: float | None
    skin_to_bone_mm: float
    skin_to_tip_mm: float
    needle_length_mm: float | None
    down_the_barrel: BeamView
    views: dict[str, BeamView]
    entry: str
