"""Which of several answers to where the bones are is taken, and when none is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from export.toy import toy_anatomy, toy_volume

from planner.errors import UnsuitableCtError, UntrustedAnatomyError
from planner.model.anatomy import Anatomy, Check
from planner.model.configuration import Configuration
from planner.pipeline import bones, trusted_anatomy
from planner.segmentation import Segmentation
from planner.segmentation.localise import Localisation
from planner.segmentation.pose import Bend, Pose

FIRST = Pose(np.zeros(3), np.zeros(3), np.zeros(3))
START = Localisation(np.eye(3), FIRST, Bend(), 0.4, 0.4, 0.2)


def answer(confidence: float, shift_mm: float = 0.0) -> Anatomy:
    anatomy = toy_anatomy()
    moved = tuple(
        replace(item, centre=item.centre + (0.0, 0.0, shift_mm)) for item in anatomy.foramina
    )
    return replace(anatomy, confidence=confidence, foramina=moved, source="builtin")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[float, Anatomy | Exception]:
    """Confidence by the place of the start, mm; what is not listed is refused."""
    known: dict[float, Anatomy | Exception] = {}

    def found(start: Localisation) -> Segmentation:
        anatomy = toy_anatomy()
        place = float(np.linalg.norm(start.pose.translation)) * np.sign(
            -start.pose.translation[2] or 1.0
        )
        evidence = {"place": round(place), "support_sacrum": 0.8 - 0.001 * abs(place)}
        return Segmentation(anatomy.labels, anatomy.grid, {}, evidence=evidence, start=start)

    def judge(anatomy: Anatomy, volume: object, evidence: dict[str, float]) -> Anatomy:
        made = known[evidence["place"]]
        if isinstance(made, Exception):
            raise made
        return made

    monkeypatch.setattr(bones, "judge", judge)
    monkeypatch.setattr(bones, "_derived", lambda given: toy_anatomy())
    monkeypatch.setattr(
        bones.segmentation, "segment", lambda volume, progress=None, start=None: found(start)
    )
    known["first"] = found(START)  # type: ignore[index]
    return known


def settle(answers: dict) -> Anatomy:
    return trusted_anatomy(answers["first"], toy_volume(), Configuration())


def test_a_sure_answer_is_taken_at_once(answers: dict) -> None:
    answers[0] = answer(0.97)
    assert settle(answers) is answers[0]  # the others are not even there


def test_the_best_of_several_answers_is_taken(answers: dict) -> None:
    answers |= {0: answer(0.6), 26: answer(0.02, -26.0), 13: answer(0.99, -13.0)}
    answers |= {-13: UntrustedAnatomyError("no sacrum"), -26: answer(0.5, 26.0)}
    assert settle(answers) is answers[13]


def test_of_answers_on_the_same_levels_the_best_borne_out_is_taken(answers: dict) -> None:
    answers |= {0: answer(0.9), 13: answer(0.94, -1.0), 26: answer(0.1, -26.0)}
    answers |= {-13: answer(0.1, 13.0), -26: answer(0.1, 26.0)}
    assert settle(answers) is answers[0]  # by its surface, though 13 has more confidence
    answers[0] = answer(0.5)
    assert settle(answers) is answers[13]  # what is below the floor is no choice


def test_two_answers_on_other_levels_are_refused(answers: dict) -> None:
    answers |= {0: answer(0.88), 26: answer(0.85, -26.0), 13: answer(0.8, -1.0)}
    answers |= {-13: answer(0.1, 13.0), -26: answer(0.1, 26.0)}
    with pytest.raises(UntrustedAnatomyError, match="levels cannot be settled.* 26 mm apart"):
        settle(answers)


def test_an_answer_from_elsewhere_must_be_sure(answers: dict) -> None:
    answers |= {0: answer(0.03), 26: answer(0.9, -26.0), 13: answer(0.1)}
    answers |= {-13: answer(0.1), -26: answer(0.01, 26.0)}
    with pytest.raises(UntrustedAnatomyError, match=r"begun elsewhere.* 0\.90.*0\.95.* 0\.03"):
        settle(answers)
    answers[0] = UntrustedAnatomyError("no sacrum")
    with pytest.raises(UntrustedAnatomyError, match="at first no levels were found"):
        settle(answers)
    answers[26] = answer(0.96, -26.0)
    assert settle(answers) is answers[26]
    # The surface of another on its levels is borne out better: it is taken, they are as sure.
    answers[13] = answer(0.85, -26.0)
    assert settle(answers) is answers[13]
    answers |= {
        0: answer(0.7),
        26: answer(0.9, -2.0),
        13: answer(0.1),
    }  # on the levels of the first
    assert settle(answers) is answers[26]


def test_none_of_them_may_be_good_enough(answers: dict) -> None:
    answers |= {0: answer(0.3), 26: answer(0.2, -26.0), 13: answer(0.1), -13: answer(0.1)}
    answers[-26] = UntrustedAnatomyError("no sacrum")
    with pytest.raises(UntrustedAnatomyError, match=r"confidence of 0\.30") as caught:
        settle(answers)
    assert caught.value.rejected is not None
    assert caught.value.rejected.confidence == 0.3  # one number everywhere
    assert caught.value.rejected.confidences == answers[0].confidences


def test_an_impossible_shape_refuses_alone(answers: dict) -> None:
    check = Check("s1_to_s2_left", 6.0, (14.0, 38.0), "mm", (), 0.15, "S2 lies 6 mm below S1")
    answers[0] = replace(answer(0.99), checks=(check,))
    with pytest.raises(UntrustedAnatomyError, match="impossible in part.*S2 lies 6 mm below S1"):
        settle(answers)


def test_labels_that_contradict_the_scan_are_wrong_and_not_the_scan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*given: object, **words: object) -> Anatomy:
        raise UnsuitableCtError("the canal runs in front.")

    monkeypatch.setattr(bones.anatomy_stage, "derive_anatomy", refuse)
    anatomy = toy_anatomy()
    own = Segmentation(anatomy.labels, anatomy.grid, {}, source="provided")
    with pytest.raises(UnsuitableCtError):
        trusted_anatomy(own, toy_volume(), Configuration())
    builtin = Segmentation(anatomy.labels, anatomy.grid, {}, evidence={"contrast": 0.3})
    with pytest.raises(UntrustedAnatomyError, match="The scan itself may be sound"):
        trusted_anatomy(builtin, toy_volume(), Configuration())
