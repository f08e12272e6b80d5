from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from planner.errors import ConfigurationError
from planner.model.configuration import PLACEMENT_ERRORS, WEIGHTS, Configuration
from planner.model.trajectory import Technique


def refused(**values: object) -> str:
    """Return the message with which a configuration is refused."""
    with pytest.raises(ConfigurationError) as caught:
        Configuration.from_mapping(values)
    assert caught.value.exit_status == 2
    return str(caught.value)


def test_defaults_are_what_the_format_promises() -> None:
    plain = Configuration.from_mapping({})
    assert plain == Configuration()
    assert (plain.needle, plain.top, plain.sides) == ("11G", 3, ("left", "right"))
    assert plain.techniques == tuple(Technique)
    assert plain.placement_error == PLACEMENT_ERRORS["ct_checked"]
    assert plain.weights == WEIGHTS
    assert plain.limits.foramina_mm == plain.limits.canal_mm == 2.0
    assert plain.preferred.foramina_mm == plain.preferred.canal_mm == 5.0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"neddle": "11G"}, "unknown key 'neddle' (did you mean 'needle'?)"),
        ({"limits": {"foramna_mm": 3}}, "unknown key 'limits.foramna_mm' (did you mean 'foramina_"),
        ({"placement_error": {"angel_deg": 3}}, "'placement_error.angel_deg' (did you mean 'angle"),
        ({"preferred": {"zzz": 3}}, "unknown key 'preferred.zzz'."),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest_name(values: dict, words: str) -> None:
    assert words in refused(**values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"limits": {"canal_mm": -1}},
            "limits.canal_mm: Input should be greater than or equal to 0",
        ),
        ({"limits": {"entry_incidence_deg": 90}}, "less than 90, got 90"),
        (
            {"preferred": {"foramina_mm": 0}},
            "preferred.foramina_mm: Input should be greater than 0",
        ),
        ({"top": 0}, "top: Input should be greater than or equal to 1, got 0"),
        ({"confidence_floor": 1.5}, "confidence_floor: Input should be less than or equal to 1"),
        ({"limits": {"foramina_mm": "wide"}}, "valid number"),
        ({"limits": {"foramina_mm": float("nan")}}, "limits.foramina_mm"),
        ({"sides": ["middle"]}, "sides.0"),
        ({"techniques": ["sideways"]}, "techniques.0"),
        ({"limits": 3}, "limits"),
        ({"placement_error": 3}, "placement_error"),
    ],
)
def test_values_outside_their_range_are_refused(values: dict, words: str) -> None:
    assert words in refused(**values)


def test_every_defect_is_listed_at_once() -> None:
    text = refused(tpo=3, needle="12G", limits={"canal_mm": 99})
    for part in ("'tpo' (did you mean 'top'?)", "needle must be one of 8G, 10G", "limits.canal_mm"):
        assert part in text


def test_a_gauge_that_does_not_exist() -> None:
    text = refused(needle="11g")
    assert "needle must be one of 8G, 10G, 11G, 13G" in text
    assert "'11g'" in text


@pytest.mark.parametrize("preset", sorted(PLACEMENT_ERRORS))
def test_a_preset_sets_the_placement_error(preset: str) -> None:
    made = Configuration.from_mapping({"placement_error_preset": preset})
    assert made.placement_error == PLACEMENT_ERRORS[preset]


def test_own_figures_win_over_the_preset() -> None:
    made = Configuration.from_mapping(
        {"placement_error_preset": "freehand", "placement_error": {"angle_deg": 5.5}}
    )
    assert made.placement_error.angle_deg == 5.5
    assert made.placement_error.entry_mm == PLACEMENT_ERRORS["freehand"].entry_mm


def test_an_unknown_preset() -> None:
    text = refused(placement_error_preset="free_hand")
    assert "'free_hand' is not known (did you mean 'freehand'?)" in text
    assert "allowed: ct_checked, freehand, robot, fluoroscopy_2d" in text


def test_worse_guidance_is_never_more_exact() -> None:
    robot, checked, hand = (PLACEMENT_ERRORS[n] for n in ("robot", "ct_checked", "freehand"))
    for name in ("entry_mm", "angle_deg", "depth_mm"):
        assert getattr(robot, name) < getattr(checked, name) < getattr(hand, name)


def test_weights_are_merged_with_the_defaults() -> None:
    made = Configuration.from_mapping({"weights": {"in_plane": 3.0}})
    assert made.weights == {**WEIGHTS, "in_plane": 3.0}


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"in_plain": 1.0}, "unknown weight 'in_plain' (did you mean 'in_plane'?)"),
        ({"in_plane": -1.0}, "weight in_plane must be from 0 to 100, got -1.0"),
        ({"in_plane": float("inf")}, "weight in_plane must be from 0 to 100"),
        ({"in_plane": float("nan")}, "weight in_plane must be from 0 to 100"),
        (dict.fromkeys(WEIGHTS, 0.0), "at least one weight must be above 0"),
    ],
)
def test_weights_that_make_no_sense(weights: dict, words: str) -> None:
    assert words in refused(weights=weights)


def test_the_default_weights_cannot_be_changed_through_a_configuration() -> None:
    Configuration().weights["in_plane"] = 50.0
    assert Configuration().weights["in_plane"] == WEIGHTS["in_plane"] != 50.0


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Configuration().top = 5  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        Configuration().limits.canal_mm = 0.0  # type: ignore[misc]


def test_the_mapping_given_is_left_as_it_was() -> None:
    values = {"placement_error_preset": "robot", "limits": {"canal_mm": 3.0}}
    Configuration.from_mapping(values)
    assert values == {"placement_error_preset": "robot", "limits": {"canal_mm": 3.0}}


def test_a_plan_s_own_record_gives_the_configuration_again() -> None:
    made = Configuration.from_mapping(
        {"needle": "13G", "techniques": ["long_axis"], "placement_error_preset": "robot"}
    )
    assert Configuration.from_mapping(made.model_dump(mode="json")) == made


def test_toml_is_read_and_the_command_line_wins(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('needle = "13G"\ntop = 5\n[limits]\nforamina_mm = 3.5\n', encoding="utf-8")
    made = Configuration.from_toml(path, top=2)
    assert (made.needle, made.top, made.limits.foramina_mm) == ("13G", 2, 3.5)
    assert made.limits.canal_mm == 2.0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"needle = ", "is not TOML"),
        (b"\xff\xfe\x00", "is not TOML"),
        (b"nedle = '11G'", "did you mean 'needle'"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "own.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=words):
        Configuration.from_toml(path)
