"""What is written down about a needle beside its score: measures and warnings."""

from __future__ import annotations

from planner.anatomy.fields import COUNTED
from planner.anatomy.levels import side_landmarks
from planner.scoring.evidence import Evidence, Setting

# A clearance's spread grows with depth: freehand beyond this breaches in about one of five.
FREEHAND_DEPTH_MM = 30.0
# Angular error from which a placement counts as freehand (preset: 4 degrees).
FREEHAND_DEG = 4.0
FLAG_INCIDENCE_DEG = 60.0
# z below 2 means a breach in about 15 % (techniques).
POOR_Z = 2.0
SETTLED = "posterior_settled_mm"
NEEDLE_SHORT = "no needle reaches"
SKIN_HIDDEN = "the CT does not show the skin behind this needle"


def measures_of(evidence: Evidence) -> dict[str, float]:
    """Figures in mm, degrees, HU, or without unit, by name."""
    pose = evidence.pose
    out = {
        "incidence_deg": evidence.incidence_deg,
        "inclination_deg": float(pose.inclination_deg[0]),
        "azimuth_deg": float(pose.azimuth_deg[0]),
        "ap_angle_deg": float(pose.ap_deg[0]),
        "axial_tilt_deg": evidence.axial_tilt_deg,
        "midsagittal_angle_deg": float(pose.midsagittal_deg[0]),
        "soft_tissue_mm": evidence.soft_tissue_mm,
        "skin_in_view": float(evidence.skin_reached),
        "min_clearance_mm": min(evidence.clearances[s].distance_mm for s in COUNTED),
        SETTLED: evidence.settled_mm,
        "z": evidence.z,
        "safe_entry_radius_mm": evidence.safe_entry_radius_mm,
        "tip_to_anterior_mm": evidence.tip_to_anterior_mm,
        "tip_depth_fraction": evidence.depth_fraction,
        "hip_clearance_mm": evidence.hip_mm,
        "mean_hu": evidence.mean_hu,
        "level_lambda": float(pose.level[0]),
        "lateral_offset_mm": float(pose.lateral_offset_mm[0]),
    }
    if evidence.target_mm == evidence.target_mm:
        out["target_distance_mm"] = evidence.target_mm
    return out


def warnings_of(setting: Setting, evidence: Evidence) -> tuple[str, ...]:
    """Sentences a reader must not miss; none of them refuses the needle."""
    configuration, out = setting.configuration, []
    length = evidence.trajectory.intraosseous_length_mm
    if configuration.placement_error.angle_deg >= FREEHAND_DEG and length > FREEHAND_DEPTH_MM:
        out.append(
            f"{length:.0f} mm in bone with freehand placement: beyond {FREEHAND_DEPTH_MM:.0f} mm "
            "check the needle on the way in"
        )
    if not evidence.skin_reached:
        out.append(
            f"{SKIN_HIDDEN}: {evidence.soft_tissue_mm:.0f} mm "
            "of its way are in view, the rest, and what lies there, is unknown"
        )
    elif configuration.pairs.shortest_needle(evidence.skin_to_tip_mm) is None:
        longest = max(configuration.pairs.needle_lengths_mm)
        out.append(
            f"{NEEDLE_SHORT}: {evidence.skin_to_tip_mm:.0f} mm from skin to tip, with "
            f"{configuration.pairs.reserve_mm:.0f} mm to spare; the longest listed has "
            f"{longest:.0f} mm"
        )
    if evidence.incidence_deg > FLAG_INCIDENCE_DEG:
        out.append(
            f"the needle meets the cortex at {evidence.incidence_deg:.0f} deg to its normal and "
            "may slide"
        )
    for structure in COUNTED:
        found = evidence.clearances[structure]
        wanted = float(getattr(configuration.preferred, f"{structure.value}_mm"))
        if found.distance_mm < wanted:
            name = (found.label or structure.value).replace("_", " ")
            out.append(
                f"{name}: clearance {found.distance_mm:.1f} mm is below the preferred "
                f"{wanted:.1f} mm, {found.depth_mm:.0f} mm behind the bone entry"
            )
    wanted = configuration.preferred.tip_to_anterior_cortex_mm
    if evidence.tip_to_anterior_mm < wanted:
        out.append(
            f"the tip is {evidence.tip_to_anterior_mm:.1f} mm from the anterior cortex; "
            f"preferred {wanted:.1f} mm"
        )
    if evidence.z < POOR_Z:
        out.append(f"z {evidence.z:.1f}: with this placement error a breach is likely")
    if not setting.fields.has_hips:
        out.append("the anatomy has no hips: the shaft outside the bone was not checked")
    mirrored = side_landmarks(setting.anatomy, evidence.trajectory.side).mirrored
    if mirrored:
        out.append(
            f"no foramen of its own was found at {', '.join(mirrored)} on this side: levels were "
            "mirrored, and clearance to that foramen is unknown"
        )
    return tuple(out)
