"""Labels on the triangles of a closed mesh: neighbours, spreading, and removal of speckles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from planner.geometry.grid import Float

UNKNOWN = 255
Pairs = NDArray[np.int64]


def neighbours(faces: NDArray[np.int64]) -> Pairs:
    """(E, 2) pairs of triangles that share an edge."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    owner = np.tile(np.arange(len(faces)), 3)
    key = edges[:, 0] * (int(faces.max()) + 1) + edges[:, 1]
    order = np.argsort(key, kind="stable")
    same = np.flatnonzero(key[order][1:] == key[order][:-1])
    return np.column_stack([owner[order][same], owner[order][same + 1]])


def smooth_over_mesh(values: Float, faces: NDArray[np.int64], rounds: int) -> Float:
    """Average (F, C) values of triangles over their vertices' neighbourhoods, `rounds` times."""
    count = int(faces.max()) + 1
    uses = np.bincount(faces.ravel(), minlength=count)[:, None]
    gather = coo_matrix(
        (np.ones(faces.size), (faces.ravel(), np.repeat(np.arange(len(faces)), 3))),
        shape=(count, len(faces)),
    ).tocsr()
    for _ in range(rounds):
        at_vertex = (gather @ values) / np.maximum(uses, 1)
        values = at_vertex[faces].mean(axis=1)
    return np.asarray(values)


def spread(labels: NDArray[np.uint8], pairs: Pairs, start: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give every UNKNOWN triangle the label of the nearest known one, counted in triangles.

    start: labels for triangles of parts without any known one. Ties go to the lowest label.
    """
    labels = labels.copy()
    while True:
        unknown = labels == UNKNOWN
        if not unknown.any():
            return labels
        offer = np.full(len(labels), UNKNOWN, np.uint8)
        np.minimum.at(offer, pairs[:, 0], labels[pairs[:, 1]])
        np.minimum.at(offer, pairs[:, 1], labels[pairs[:, 0]])
        reached = unknown & (offer != UNKNOWN)
        if not reached.any():
            labels[unknown] = start[unknown]
            return labels
        labels[reached] = offer[reached]


def majority(
    labels: NDArray[np.uint8], faces: NDArray[np.int64], kinds: int, rounds: int
) -> NDArray[np.uint8]:
    """Replace every label by the commonest one around it."""
    share = np.eye(kinds)[labels]
    return np.asarray(np.argmax(smooth_over_mesh(share, faces, rounds), axis=1), np.uint8)


def drop_speckles(
    labels: NDArray[np.uint8], pairs: Pairs, areas: Float, least_mm2: Float
) -> NDArray[np.uint8]:
    """Give patches smaller than their kind's least area (mm2) to their surroundings."""
    same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    links = pairs[same]
    graph = coo_matrix(
        (np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(len(labels),) * 2
    )
    _, part = connected_components(graph, directed=False)
    area = np.bincount(part, areas)
    small = area[part] < least_mm2[labels]
    return spread(np.where(small, np.uint8(UNKNOWN), labels).astype(np.uint8), pairs, labels)
