"""The report: one HTML file that needs nothing else, for a screen and for paper.

Every number comes from the object that plan.json is written from, so that both agree. Pictures are
embedded; the page asks for nothing from outside, and its policy forbids it to.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from planner.export.entry_map import draw_entry_map
from planner.export.guidance_words import guidance_lines
from planner.export.names import STRUCTURES
from planner.export.numbers import MARKS, percent, placement_words, standing
from planner.export.overview.slices import Masks, cut_masks
from planner.export.overview.table import technique_words
from planner.export.plan_document import PlanDocument, TrajectoryObject
from planner.export.plan_json import plan_document
from planner.export.plan_reading import guidance_of, scored_of
from planner.export.report import pictures
from planner.export.report.pdf import write_pdf
from planner.export.report.review import planned_ends, rejected_ids, review_mark, review_words
from planner.export.report.space import build_space
from planner.geometry.radiograph import SOURCE_TO_DETECTOR_MM, SOURCE_TO_ISOCENTRE_MM
from planner.model.configuration import Configuration
from planner.model.plan import Plan
from planner.model.trajectory import ScoredTrajectory, Structure, Technique
from planner.model.volume import Volume
from planner.scoring import explanations
from planner.scoring.profile import clearance_profile
from planner.scoring.slip import MOST_MM

FILE_NAME = "report.html"
PRINTED_NAME = "report.pdf"
Progress = Callable[[float], None]


def write_report(
    plan: Plan,
    volume: Volume,
    path: Path,
    *,
    document: PlanDocument | None = None,
    grey_values: bool = True,
    identity: Mapping[str, str] | None = None,
    pdf: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the report of a plan to an HTML file.

    volume: the CT planned on, for the pictures. document: plan.json as it was saved; None where the
    plan is new. grey_values: False where volume only stands in for a CT that was not given.
    identity: what names the patient, where the user asked for it. pdf: also print it to this file.
    progress: called with the part done, 0 to 1.
    """
    saved = plan_document(plan) if document is None else document
    text = report_text(plan, saved, volume, grey_values, identity, progress)
    path.write_text(text, encoding="utf-8")
    if pdf is not None:
        write_pdf(text, pdf)


def report_text(
    plan: Plan,
    document: PlanDocument,
    volume: Volume,
    grey_values: bool = True,
    identity: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> str:
    """Build the report's HTML; see write_report."""
    folder = resources.files("planner.export.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["chance"] = percent
    template = environment.from_string((folder / "page.html.j2").read_text(encoding="utf-8"))
    items = [scored_of(values) for values in document.trajectories]
    masks = cut_masks(plan.anatomy.labels, plan.anatomy.grid)
    gone = rejected_ids(document)
    space = build_space(items, plan.anatomy, volume, masks, rejected=gone)
    entry_map = ""
    if plan.entry_map is not None:
        entry_map = _embedded(pictures.to_bytes(draw_entry_map(plan)))
    return template.render(
        style=(folder / "style.css").read_text(encoding="utf-8"),
        plan=document,
        grey_values=grey_values,
        identity=dict(identity or {}),
        facts=_facts(document),
        gauge=document.config.get("needle", ""),
        clearance_names=list(STRUCTURES.values()),
        rows=_rows(plan, document, volume, items, masks, progress),
        reviewed=document.review is not None,
        pair_warnings=_pair_warnings(document),
        entry_map=entry_map,
        space=space,
        stills=[(title, _embedded(data)) for title, data in space.stills],
        sid=f"{SOURCE_TO_DETECTOR_MM:.0f}",
        soi=f"{SOURCE_TO_ISOCENTRE_MM:.0f}",
        method=_method(document),
        refused=_listed(document.rejections) or "none",
        confidence=_confidence(document),
        configuration=json.dumps(document.config, indent=1, ensure_ascii=False),
    )


def _rows(
    plan: Plan,
    document: PlanDocument,
    volume: Volume,
    items: Sequence[ScoredTrajectory],
    masks: Masks,
    progress: Progress | None,
) -> list[dict[str, Any]]:
    """Everything the page shows of each trajectory, best first."""
    anatomy = plan.anatomy
    radiographs = pictures.Radiographs(anatomy, volume)
    # A reviewed plan keeps the planner's order: a moved path does not stand there for its figures.
    why = ["", *explanations(items)] if document.review is None else [""] * len(items)
    rows = []
    for number, (item, values) in enumerate(zip(items, document.trajectories, strict=True)):
        guidance = None if values.guidance is None else guidance_of(values.guidance)
        profile = clearance_profile(item.trajectory, anatomy)
        drawn = {
            "slices": pictures.slice_figure(item, anatomy, volume, masks, planned_ends(values)),
            "profile": pictures.profile_figure(item, profile, plan.configuration),
        }
        if guidance is not None:
            drawn["radiographs"] = radiographs.figure(item, guidance)
        rows.append(
            _figures(item, values, plan.configuration)
            | {name: _embedded(pictures.to_bytes(figure)) for name, figure in drawn.items()}
            | {"guidance": [] if guidance is None else guidance_lines(guidance)}
            | {
                "why": why[number],
                "review": review_words(values),
                "mark": review_mark(values),
                "kind": _kind(values),
            }
        )
        if progress is not None:
            progress((number + 1) / len(items))
    return rows


def _figures(
    item: ScoredTrajectory, values: TrajectoryObject, configuration: Configuration
) -> dict[str, Any]:
    """The numbers of one trajectory as words."""
    structures = []
    for structure, name in STRUCTURES.items():
        found = getattr(values.clearance, structure.value)
        chance = getattr(values.breach_probability, structure.value)
        if found is None:  # a plan of an earlier version
            structures.append({"name": name, "distance": "–", "depth": "–", "breach": "–"})
            continue
        mark = MARKS[standing(structure, found.distance_mm, configuration)]
        if structure is Structure.FORAMINA:
            name = f"{name} ({found.structure.replace('_', ' ')})"
        structures.append(
            {
                "name": name,
                "distance": f"{mark} {found.distance_mm:z.1f}".strip(),
                "depth": f"{found.depth_mm:.0f}",
                "breach": "–" if chance is None else percent(chance),
            }
        )
    shown = values.measures.get("skin_in_view", 1.0) > 0
    if values.guidance is not None:
        shown = values.guidance.skin_in_view
    slip = values.measures.get("safe_entry_radius_mm")
    points = (values.skin_entry_mm, values.bone_entry_mm, values.tip_mm)
    return {
        "id": values.id,
        "rank": values.rank,
        "technique": technique_words(Technique(values.technique)),
        "side": values.side,
        "level": values.level,
        "clearances": [row["distance"] for row in structures],
        "structures": structures,
        "breach": percent(values.breach_probability.any),
        "bone": f"{values.intraosseous_length_mm:.0f}",
        "skin": f"{'' if shown else '>'}{values.skin_to_tip_mm:.0f}",
        "score": f"{values.score:.2f}",
        "slip": _slip(slip),
        "skin_word": "skin" if shown else "leaves the CT at",
        "warnings": values.warnings,
        "points": [" ".join(f"{x:.1f}" for x in point) for point in points],
    }


def _kind(values: TrajectoryObject) -> str:
    return "" if values.review is None else f"{values.review.verdict} {values.review.origin}"


def _pair_warnings(document: PlanDocument) -> list[str]:
    """Warnings of pairs, each once with the ranks that it holds for."""
    found: dict[str, list[str]] = {}
    for pair in document.pairs:
        for line in pair.warnings:
            found.setdefault(line, []).append(str(pair.rank))
    return [f"Pair {', '.join(ranks)}: {line}" for line, ranks in found.items()]


def _slip(radius_mm: float | None) -> str:
    if radius_mm is None:
        return ""
    return f"{MOST_MM:g} or more" if radius_mm >= MOST_MM else f"up to {radius_mm:.1f}"


def _facts(document: PlanDocument) -> list[tuple[str, str]]:
    ct = document.ct
    size = " × ".join(str(n) for n in ct.size)
    spacing = " × ".join(f"{s:.2f}" for s in ct.spacing_mm)
    facts = [
        ("CT", f"{ct.series_description} {ct.convolution_kernel} {ct.patient_position}".strip()),
        ("Voxels", f"{size}, {spacing} mm"),
        ("Series", ct.series_instance_uid),
        ("Anatomy", f"{document.anatomy.source}, confidence {document.anatomy.confidence:.2f}"),
        ("Needle", str(document.config.get("needle", ""))),
        ("Placement error", placement_words(document.config)),
        ("Planned", document.provenance.created),
    ]
    return [(name, value) for name, value in facts if value]


def _method(document: PlanDocument) -> list[tuple[str, str]]:
    extra = document.provenance.model_extra or {}
    libraries = extra.get("libraries", {})
    return [
        ("Program", f"planner {document.provenance.version}"),
        ("Libraries", ", ".join(f"{name} {version}" for name, version in libraries.items())),
        ("Voxels' sha256", document.ct.sha256),
        ("Frame", "patient LPS, mm"),
        ("Stages, s", _listed({k: round(v, 1) for k, v in document.provenance.timings_s.items()})),
    ]


def _confidence(document: PlanDocument) -> str:
    order = sorted(document.anatomy.confidences.items(), key=lambda pair: (pair[1], pair[0]))
    words = [f"{name.replace('_', ' ')} {value:.2f}" for name, value in order]
    return ", ".join(words) or "not given"


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items() if value)


def _embedded(data: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(data).decode("ascii")
