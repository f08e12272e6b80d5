"""Parametric phantoms: a sacrum with its surroundings, scanned by CT, with its exact truth.

`make_phantom` turns parameters into a CT volume and its truth; `write_phantom` writes both as a
DICOM series, a label map and a JSON file. Nothing here comes from a patient.
"""

from planner.phantom.files import write_phantom
from planner.phantom.parameters import AlarFracture, PhantomParameters, TransverseBar
from planner.phantom.phantom import Phantom, make_phantom
from planner.phantom.truth import PhantomTruth

__all__ = [
    "AlarFracture",
    "Phantom",
    "PhantomParameters",
    "PhantomTruth",
    "TransverseBar",
    "make_phantom",
    "write_phantom",
]
