"""What structures and C-arm views are called where people read."""

from __future__ import annotations

from planner.model.trajectory import Structure

STRUCTURES = {
    Structure.FORAMINA: "foramina",
    Structure.CANAL: "canal",
    Structure.ANTERIOR: "anterior cortex",
    Structure.SACROILIAC: "sacroiliac joint",
    Structure.SUPERIOR: "superior cortex",
    Structure.POSTERIOR: "posterior cortex",
}
BEAMS = {"ap": "AP", "outlet": "outlet", "inlet": "inlet", "lateral": "lateral"}
