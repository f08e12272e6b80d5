"""plan.json: from a Plan to text and back to a PlanDocument.

The same plan gives the same bytes, `provenance.created` and `provenance.timings_s` apart. What is
written and what is read is checked against the JSON Schema that ships beside this file. Lengths are
computed from the rounded points, so that a reader who recomputes them finds the same figures.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import jsonschema
import numpy as np
from numpy.typing import ArrayLike
from pydantic import ValidationError

from planner.errors import ConfigurationError, OutputError, UnsuitableCtError
from planner.export.disclaimer import DISCLAIMER
from planner.export.plan_document import READABLE_VERSIONS, SCHEMA_VERSION, PlanDocument
from planner.model.anatomy import Anatomy, Check, Foramen
from planner.model.guidance import Guidance
from planner.model.plan import Plan
from planner.model.trajectory import ScoredTrajectory, Structure, Trajectory
from planner.reading.fingerprint import fingerprint
from planner.scoring.report import SETTLED

FILE_NAME = "plan.json"
SCHEMA_FILE = "plan.schema.json"

# A plan of ten paths takes 20 kB, a review of a thousand changes 1 MB.
LARGEST_BYTES = 16 * 1024**2
# A problem quotes the value it is about, which may be as long as the file.
LONGEST_PROBLEM = 300
MOST_PROBLEMS = 100

DECIMALS_MM = 3
DECIMALS_UNIT = 6  # unit vectors, probabilities, utilities

Triple = tuple[float, float, float]
# A list of numbers only, spread over lines by json.dumps. Line breaks inside strings are escaped in
# JSON, so that this never matches text.
_NUMBERS = re.compile(r"\[\n\s+(-?\d[^\[\]{}\"]*?)\n\s*\]")


def plan_document(plan: Plan) -> PlanDocument:
    """Turn a plan into the object that plan.json holds.

    Raises OutputError naming every number or name that the format does not allow.
    """
    provenance = {"created": datetime.now(UTC).isoformat(timespec="seconds"), **plan.provenance}
    provenance["timings_s"] = {name: round(s, 3) for name, s in plan.timings_s.items()}
    values = {
        "schema_version": SCHEMA_VERSION,
        "disclaimer": DISCLAIMER,
        "frame": {"frame_of_reference_uid": plan.ct_grid.frame_of_reference_uid},
        "ct": _ct(plan),
        "anatomy": _anatomy(plan.anatomy),
        "trajectories": [
            trajectory_values(item, plan.guidance.get(item.id)) for item in plan.trajectories
        ],
        "pairs": [rounded(asdict(item)) for item in plan.pairs],
        "feasibility": [rounded(asdict(item)) for item in plan.feasibility],
        "target": _target(plan),
        "rejections": _sorted(plan.rejections),
        "findings": [
            {
                "name": item.name,
                "weight": item.weight.value,
                "message": item.message,
                "measures": _sorted(item.measures),
            }
            for item in plan.findings
        ],
        "warnings": list(plan.warnings),
        "config": plan.configuration.model_dump(mode="json"),
        "provenance": provenance,
    }
    try:
        return PlanDocument.model_validate(values)
    except ValidationError as error:
        raise OutputError(
            "plan.json was not written, because the plan breaks its own format: "
            f"{tell_problems(error)}."
        ) from error


def _target(plan: Plan) -> dict[str, Any] | None:
    if plan.target is None:
        return None
    return {"points_mm": [point_mm(point) for point in plan.target]}


def plan_text(plan: Plan) -> str:
    """Return the text of plan.json, checked against the schema."""
    return document_text(plan_document(plan))


def document_text(document: PlanDocument) -> str:
    """Return the text of a document as plan.json holds it, checked against the schema."""
    values = document.model_dump(mode="json", exclude_none=True)
    problems = _problems(values)
    if problems:
        raise OutputError(
            f"plan.json was not written, because the plan breaks its own format: {problems}."
        )
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
    return _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


def write_plan_json(plan: Plan, path: Path) -> None:
    """Write plan.json to a path."""
    write_document(plan_document(plan), path)


def write_document(document: PlanDocument, path: Path) -> None:
    """Write a document to a path as plan.json holds it."""
    path.write_text(document_text(document), encoding="utf-8")


def read_plan(folder: Path) -> PlanDocument:
    """Read and check the plan.json of a plan folder; raises as `read_plan_and_hash`."""
    return read_plan_and_hash(folder)[0]


def read_plan_and_hash(folder: Path) -> tuple[PlanDocument, str]:
    """Read and check the plan.json of a plan folder; returns it and the sha256 of its bytes.

    Raises ConfigurationError where there is none, UnsuitableCtError where it is damaged.
    """
    path = Path(folder) / FILE_NAME
    try:
        _check_file(path)
        data = path.read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"{folder} is not a plan folder: {FILE_NAME} cannot be read there ({error.strerror}). "
            "Give the folder that `planner plan --output` wrote."
        ) from error
    except UnicodeDecodeError as error:
        raise UnsuitableCtError(_damaged(path, "it is not UTF-8 text")) from error
    try:
        values = json.loads(text, parse_constant=_refuse_constant)
        document = _checked(values, path)
    except ValueError as error:
        raise UnsuitableCtError(_damaged(path, str(error))) from error
    except RecursionError as error:
        raise UnsuitableCtError(_damaged(path, "it is nested too deep")) from error
    return document, hashlib.sha256(data).hexdigest()


def _check_file(path: Path) -> None:
    """Refuse what does not end or is no plan by its size alone; raises OSError."""
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise UnsuitableCtError(_damaged(path, "it is no file"))
    if state.st_size > LARGEST_BYTES:
        raise UnsuitableCtError(
            _damaged(path, f"it has {state.st_size} bytes, at most {LARGEST_BYTES} are read")
        )


def _checked(values: Any, path: Path) -> PlanDocument:
    if not isinstance(values, dict):
        raise UnsuitableCtError(_damaged(path, "the file holds no object"))
    version = values.get("schema_version")
    if version not in READABLE_VERSIONS:
        raise UnsuitableCtError(
            f"{path} has schema_version {version!r}; this program reads "
            f"{' and '.join(map(repr, READABLE_VERSIONS))}. "
            "Plan again with this version, or read it with the one that wrote it."
        )
    problems = _problems(values)
    if problems:
        raise UnsuitableCtError(_damaged(path, problems))
    try:
        return PlanDocument.model_validate(values)
    except ValidationError as error:
        raise UnsuitableCtError(_damaged(path, tell_problems(error))) from error


def trajectory_values(item: ScoredTrajectory, guidance: Guidance | None = None) -> dict[str, Any]:
    """Return one trajectory as plan.json words it."""
    path = item.trajectory
    values = {
        "id": item.id,
        "rank": item.rank,
        **_path(path),
        "clearance": {
            structure.value: _clearance(item, structure)
            for structure in Structure
            if structure in item.clearances
        },
        "breach_probability": {
            name: round(float(p), DECIMALS_UNIT) for name, p in item.breach_probability.items()
        },
        "score": round(float(item.score), DECIMALS_UNIT),
        "non_dominated": item.non_dominated,
        "criteria": [
            {
                "name": criterion.name,
                "value": round(float(criterion.value), DECIMALS_UNIT),
                "unit": criterion.unit,
                "utility": round(float(criterion.utility), DECIMALS_UNIT),
                "weight": round(float(criterion.weight), DECIMALS_UNIT),
            }
            for criterion in item.criteria
        ],
        "measures": {k: round(float(v), DECIMALS_UNIT) for k, v in _sorted(item.measures).items()},
        "warnings": list(item.warnings),
    }
    if guidance is not None:
        values["guidance"] = rounded(asdict(guidance))
    return values


def rounded(values: Any) -> Any:
    """Round every number in nested values as plan.json does."""
    if isinstance(values, dict):
        return {name: rounded(value) for name, value in values.items()}
    if isinstance(values, float):
        return round(values, DECIMALS_UNIT) + 0.0
    return list(values) if isinstance(values, tuple) else values


def _path(path: Trajectory) -> dict[str, Any]:
    skin, entry, tip = (point_mm(p) for p in (path.skin_entry, path.bone_entry, path.tip))
    return {
        "technique": path.technique.value,
        "side": path.side,
        "level": path.level,
        "needle": {
            "gauge": path.needle.gauge,
            "outer_diameter_mm": path.needle.outer_diameter_mm,
        },
        "skin_entry_mm": skin,
        "bone_entry_mm": entry,
        "tip_mm": tip,
        "skin_to_tip_mm": _length(skin, tip),
        "intraosseous_length_mm": _length(entry, tip),
    }


def _clearance(item: ScoredTrajectory, structure: Structure) -> dict[str, Any]:
    found = item.clearances[structure]
    values: dict[str, Any] = {
        "distance_mm": _mm(found.distance_mm),
        "witness_mm": point_mm(found.witness),
        "depth_mm": _mm(found.depth_mm),
    }
    if structure is Structure.FORAMINA:
        values["structure"] = found.label
    elif structure is Structure.POSTERIOR and SETTLED in item.measures:
        values["settled_mm"] = _mm(item.measures[SETTLED])
    return values


def _ct(plan: Plan) -> dict[str, Any]:
    source = plan.ct
    return {
        "series_instance_uid": source.series_instance_uid,
        "sha256": source.sha256,
        "size": plan.ct_grid.shape,
        "spacing_mm": _triple(plan.ct_grid.spacing_mm, DECIMALS_UNIT),
        "study_instance_uid": source.study_instance_uid,
        "kind": source.kind,
        "series_description": source.series_description,
        "convolution_kernel": source.convolution_kernel,
        "patient_position": source.patient_position,
        "slice_thickness_mm": source.slice_thickness_mm,
        "choice": source.choice,
    }


def _anatomy(anatomy: Anatomy) -> dict[str, Any]:
    left, posterior, cranial = (_triple(axis, DECIMALS_UNIT) for axis in anatomy.frame.axes.T)
    return {
        "source": anatomy.source,
        "labels_sha256": fingerprint(anatomy.labels, anatomy.grid),
        "confidence": round(float(anatomy.confidence), DECIMALS_UNIT),
        "confidences": {
            name: round(float(c), DECIMALS_UNIT) for name, c in _sorted(anatomy.confidences).items()
        },
        "checks": [_check(item) for item in anatomy.checks],
        "s1_endplate": {
            "centre_mm": point_mm(anatomy.endplate_centre),
            "normal": _triple(anatomy.endplate_normal, DECIMALS_UNIT),
        },
        "sacral_frame": {
            "origin_mm": point_mm(anatomy.frame.origin),
            "left": left,
            "posterior": posterior,
            "cranial": cranial,
        },
        "foramina": [_foramen(item) for item in sorted(anatomy.foramina, key=lambda f: f.name)],
    }


def _check(item: Check) -> dict[str, Any]:
    return {
        "name": item.name,
        "passed": item.passed,
        "measured": round(float(item.measured), DECIMALS_MM) + 0.0,
        "limit": item.limit,
        "unit": item.unit,
    }


def _foramen(item: Foramen) -> dict[str, Any]:
    return {
        "level": item.level,
        "side": item.side,
        "centre_mm": point_mm(item.centre),
        "ventral_mm": point_mm(item.ventral),
        "dorsal_mm": point_mm(item.dorsal),
        "width_mm": _mm(item.width_mm),
        "confidence": round(float(item.confidence), DECIMALS_UNIT),
    }


def point_mm(point: ArrayLike) -> Triple:
    """Round a (3,) patient point as plan.json does."""
    return _triple(point, DECIMALS_MM)


def _triple(values: ArrayLike, decimals: int) -> Triple:
    x, y, z = (round(float(v), decimals) + 0.0 for v in np.asarray(values, float))
    return x, y, z


def _mm(value: float) -> float:
    return round(float(value), DECIMALS_MM) + 0.0


def _length(first: Triple, second: Triple) -> float:
    return _mm(float(np.linalg.norm(np.subtract(second, first))))


def _sorted(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in sorted(values)}


@cache
def _validator() -> Any:
    text = resources.files("planner.export").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
    return jsonschema.Draft202012Validator(json.loads(text))


def _problems(values: Any) -> str:
    return _join(
        f"{'.'.join(str(part) for part in item.absolute_path) or 'plan'}: {item.message}"
        for item in _validator().iter_errors(values)
    )


def tell_problems(error: ValidationError) -> str:
    """Say in words what of a document breaks the format."""
    return _join(
        f"{'.'.join(str(part) for part in item['loc']) or 'plan'}: {item['msg']}, "
        f"got {str(item['input'])[:80]}"
        for item in error.errors()
    )


def _join(lines: Iterable[str], most: int = 5) -> str:
    found = [line[:LONGEST_PROBLEM] for line in islice(lines, MOST_PROBLEMS)]
    extra = f"; and {len(found) - most} more" if len(found) > most else ""
    return "; ".join(found[:most]) + extra


def _damaged(path: Path, why: str) -> str:
    return f"{path} is not a valid plan: {why}. Plan again, or restore the file."


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"the number {name} is not finite")
