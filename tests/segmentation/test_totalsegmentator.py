from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from export.toy import awkward_grids, toy_frame, toy_labels, toy_volume
from support.totalsegmentator import StandIn, install

from planner.errors import (
    ConfigurationError,
    PlannerError,
    UnsuitableCtError,
    UntrustedAnatomyError,
)
from planner.model.anatomy import LABELS
from planner.reading.labels import read_mask_folder
from planner.segmentation import TotalSegmentator

GRIDS = awkward_grids()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return install(tmp_path, monkeypatch)


def refusal(kind: type[PlannerError], **words: object) -> str:
    """Run on a toy CT and return how it was refused."""
    found = TotalSegmentator.find()
    changed = TotalSegmentator(found.executable, **words)  # type: ignore[arg-type]
    with pytest.raises(kind) as caught, changed.run(toy_volume()):
        pytest.fail("it must not come to masks")
    return str(caught.value)


@pytest.mark.parametrize("name", ["oblique", "left_handed", "permuted"])
def test_its_masks_lie_on_the_ct(name: str, program: StandIn) -> None:
    grid = GRIDS[name]
    with TotalSegmentator.find().run(toy_volume(grid)) as masks:
        found = read_mask_folder(masks, "totalsegmentator")
    labels = toy_labels(grid, toy_frame())
    np.testing.assert_array_equal(found.labels > 0, labels == LABELS["sacrum"])
    np.testing.assert_allclose(found.grid.patient_from_ijk, grid.patient_from_ijk, atol=1e-3)
    assert found.source == "totalsegmentator"
    assert program.left_behind() == []


def test_it_runs_with_statistics_and_downloads_off(
    program: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("https_proxy", "http://proxy.example:8080")
    before = dict(os.environ)
    with TotalSegmentator.find().run(toy_volume()) as masks:
        folder = masks.parent
    record = program.record
    bones = ["sacrum", "vertebrae_S1", "vertebrae_L5", "hip_left", "hip_right"]
    assert record["arguments"] == [
        *("-i", str(folder / "ct.nii"), "-o", str(folder / "masks")),
        *("--roi_subset", *bones, "--device", "cpu"),
    ]
    assert record["config"]["send_usage_stats"] is False
    given = record["environment"]
    assert given["TOTALSEG_HOME_DIR"] == str(folder / "home")  # not the user's configuration
    assert given["TOTALSEG_WEIGHTS_PATH"] == str(program.weights)
    assert given["TMPDIR"] == str(folder / "tmp")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        assert given[name] == given[name.lower()] == "http://127.0.0.1:9"
    assert not {"NO_PROXY", "no_proxy"} & set(given)
    assert record["folder_mode"] == 0o700
    assert dict(os.environ) == before


def test_a_download_is_the_user_s_to_allow(
    program: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:8080")
    (program.weights / "Dataset298_TotalSegmentator_total_6mm").rmdir()
    with pytest.raises(ConfigurationError, match=r"has no weights in .*--allow-download"):
        TotalSegmentator.find()
    with TotalSegmentator.find(allow_download=True, device="gpu:1").run(toy_volume()):
        pass
    record = program.record
    assert record["environment"]["https_proxy"] == "http://proxy.example:8080"
    assert "HTTP_PROXY" not in record["environment"]
    assert record["arguments"][-2:] == ["--device", "gpu:1"]
    assert record["config"]["send_usage_stats"] is False


def test_the_user_s_own_weights_are_used(
    program: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOTALSEG_WEIGHTS_PATH")
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path / "own"))
    weights = tmp_path / "own" / "nnunet" / "results"
    (weights / "Dataset291").mkdir(parents=True)
    with TotalSegmentator.find().run(toy_volume()):
        pass
    assert program.record["environment"]["TOTALSEG_WEIGHTS_PATH"] == str(weights)


def test_an_absent_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(ConfigurationError, match="pip install 'TotalSegmentator") as caught:
        TotalSegmentator.find()
    assert caught.value.exit_status == 2


def test_a_wrong_device_is_refused(program: StandIn) -> None:
    with pytest.raises(ConfigurationError, match="cpu, gpu, gpu:N or mps, got 'cuda'"):
        TotalSegmentator.find(device="cuda")


def test_its_failure_is_told_in_its_own_words(program: StandIn) -> None:
    program.mode("fail")
    text = refusal(UntrustedAnatomyError)
    assert "failed with exit status 1" in text
    assert "not enough memory: you tried to allocate 9 GB" in text
    assert program.left_behind() == []


def test_missing_weights_are_told_apart(program: StandIn) -> None:
    program.mode("weights")
    text = refusal(ConfigurationError)
    assert "lacks weights" in text
    assert "totalseg_download_weights -t total" in text
    assert "--allow-download" in text
    assert "failed with exit status 1" in refusal(UntrustedAnatomyError, allow_download=True)


def test_missing_and_empty_masks_are_told(program: StandIn) -> None:
    program.mode("no_sacrum")
    assert "wrote no mask of sacrum." in refusal(UntrustedAnatomyError)
    program.mode("empty")
    assert "found no sacrum in this CT" in refusal(UnsuitableCtError)
    assert program.left_behind() == []


def test_it_is_stopped_after_its_time(program: StandIn) -> None:
    program.mode("hang")
    text = refusal(UntrustedAnatomyError, timeout_s=6.0)
    assert "was stopped after" in text
    assert "If you use this tool please cite it" in text
    assert len(program.record["pids"]) == 2
    assert program.running() == []
    assert program.left_behind() == []


def test_an_interrupt_ends_it_and_leaves_nothing(program: StandIn) -> None:
    program.mode("hang")
    told: list[str] = []

    def interrupt(stage: str, part: float) -> None:
        told.append(stage)
        if program.started and stage.endswith("please cite it"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), TotalSegmentator.find().run(toy_volume(), interrupt):
        pass
    assert told[0].startswith("TotalSegmentator 0 s")
    assert program.running() == []
    assert program.left_behind() == []
