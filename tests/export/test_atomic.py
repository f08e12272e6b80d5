import os
from pathlib import Path

import pytest

from planner.errors import OutputError
from planner.export.atomic import check_file, check_folder, write_file, write_files, write_folder

KNOWN = ("plan.json", "overview.png", "report.html")


def put(text: str):
    return lambda path: path.write_text(text, encoding="utf-8")


def fail(path: Path) -> None:
    path.write_text("half", encoding="utf-8")
    raise OSError(28, "No space left on device")


def listing(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): p.read_text(encoding="utf-8")
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.fixture
def old(tmp_path: Path) -> Path:
    folder = tmp_path / "plan"
    folder.mkdir()
    for name in ("plan.json", "overview.png", "report.html", "notes.txt"):
        (folder / name).write_text(f"old {name}", encoding="utf-8")
    (folder / "mine").mkdir()
    (folder / "mine" / "x.txt").write_text("mine", encoding="utf-8")
    return folder


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "plan"
    write_folder(folder, {"plan.json": put("a"), "overview.png": put("b")}, KNOWN)
    assert listing(tmp_path) == {"deep/plan/plan.json": "a", "deep/plan/overview.png": "b"}


def test_a_failure_midway_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"No space left on device.*Nothing was left behind"):
        write_folder(tmp_path / "deep" / "plan", {"plan.json": put("a"), "x": fail}, KNOWN)
    assert list(tmp_path.iterdir()) == []


def test_a_defect_midway_leaves_nothing_behind_and_is_not_hidden(tmp_path: Path) -> None:
    def defect(path: Path) -> None:
        raise RuntimeError("defect")

    with pytest.raises(RuntimeError, match="defect"):
        write_folder(tmp_path / "plan", {"plan.json": put("a"), "x": defect}, KNOWN)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_untouched_without_overwrite(old: Path) -> None:
    before = listing(old)
    with pytest.raises(OutputError, match=r"exists already.*--overwrite"):
        write_folder(old, {"plan.json": put("new")}, KNOWN)
    assert listing(old) == before


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "plan").mkdir()
    write_folder(tmp_path / "plan", {"plan.json": put("a")}, KNOWN)
    assert listing(tmp_path / "plan") == {"plan.json": "a"}


def test_overwrite_replaces_known_files_only(old: Path) -> None:
    write_folder(old, {"plan.json": put("new"), "overview.png": put("new")}, KNOWN, overwrite=True)
    assert listing(old) == {
        "plan.json": "new",
        "overview.png": "new",
        "notes.txt": "old notes.txt",
        "mine/x.txt": "mine",
    }


def test_a_failed_overwrite_changes_nothing(old: Path) -> None:
    before = listing(old)
    with pytest.raises(OutputError):
        write_folder(old, {"plan.json": put("new"), "overview.png": fail}, KNOWN, overwrite=True)
    assert listing(old) == before


def test_a_failure_while_swapping_puts_the_old_files_back(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = listing(old)
    replace = Path.replace

    def stumble(self: Path, target: Path) -> Path:
        if self.read_text(encoding="utf-8") == "new picture":
            raise OSError(5, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", stumble)
    writers = {"plan.json": put("new"), "overview.png": put("new picture")}
    with pytest.raises(OutputError, match="Input/output error"):
        write_folder(old, writers, KNOWN, overwrite=True)
    assert listing(old) == before


def test_results_never_go_among_the_images(tmp_path: Path) -> None:
    ct = tmp_path / "ct"
    ct.mkdir()
    for place in (ct, ct / "plan", ct / "a" / ".." / "plan"):
        with pytest.raises(OutputError, match="inside the CT's folder"):
            check_folder(place, overwrite=True, reserved=ct)
    check_folder(tmp_path / "plan", overwrite=False, reserved=ct)


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan").write_text("x", encoding="utf-8")
    with pytest.raises(OutputError, match="is not a folder"):
        check_folder(tmp_path / "plan", overwrite=True)
    with pytest.raises(OutputError, match="not a folder that can be written to"):
        check_folder(tmp_path / "plan" / "deeper", overwrite=True)


def test_single_files(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.seg.nrrd"
    write_file(path, put("first"))
    with pytest.raises(OutputError, match="exists already"):
        check_file(path, overwrite=False)
    with pytest.raises(OutputError, match="No space"):
        write_file(path, fail)
    assert listing(tmp_path) == {"new/a.seg.nrrd": "first"}
    with pytest.raises(OutputError, match="is a folder"):
        check_file(tmp_path, overwrite=True)


def test_when_the_second_cannot_take_its_place_the_first_is_as_it_was(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, printed = old / "report.html", old / "report.pdf"
    rename = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if target == printed:
            raise OSError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        write_files((page, printed), lambda parts: [part.write_text("new") for part in parts])
    assert page.read_text(encoding="utf-8") == "old report.html"
    assert not printed.exists()
    assert [path.name for path in old.glob(".*")] == []


def test_files_that_belong_together_appear_together(old: Path) -> None:
    page, printed = old / "report.html", old / "report.pdf"

    def half(parts) -> None:
        parts[0].write_text("new", encoding="utf-8")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left on device"):
        write_files((page, printed), half)
    assert page.read_text(encoding="utf-8") == "old report.html"
    assert not printed.exists()

    def both(parts) -> None:
        assert [part.suffix for part in parts] == [".html", ".pdf"]
        for part in parts:
            part.write_text("new", encoding="utf-8")

    write_files((page, printed), both)
    assert page.read_text(encoding="utf-8") == printed.read_text(encoding="utf-8") == "new"
    assert [path.name for path in old.glob(".*")] == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the kill is done in a fork")
def test_a_kill_never_leaves_a_plan_on_other_files(old: Path) -> None:
    names = ("overview.png", "report.html", "plan.json")
    seen = set()
    for step in range(1, 12):
        for name in names:
            (old / name).write_text(f"old {name}", encoding="utf-8")
        child = os.fork()
        if child == 0:
            _die_at(step)
            write_folder(old, {n: put(f"new {n}") for n in names}, KNOWN, overwrite=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        texts = {n: (old / n).read_text(encoding="utf-8")[:3] for n in names if (old / n).exists()}
        assert "plan.json" not in texts or len(set(texts.values())) == 1, (step, texts)
        assert (old / "notes.txt").read_text(encoding="utf-8") == "old notes.txt"
        seen.add((os.waitstatus_to_exitcode(status), "plan.json" in texts))
    assert seen == {(9, True), (9, False), (0, True)}


def _die_at(step: int) -> None:
    """Have this process end, as by a kill, before its step-th renaming."""
    left = [step]

    def counted(way):
        def move(path: Path, target: Path) -> Path:
            left[0] -= 1
            if left[0] == 0:
                os._exit(9)
            return way(path, target)

        return move

    for name in ("replace", "rename"):
        setattr(Path, name, counted(getattr(Path, name)))


def test_what_a_kill_left_goes_with_the_next_run(tmp_path: Path) -> None:
    folder, file = tmp_path / "plan", tmp_path / "a.seg.nrrd"
    stale = [tmp_path / ".plan.0123abcd.part", tmp_path / ".a.seg.0123abcd.part.nrrd"]
    fresh, other = tmp_path / ".plan.89abcdef.part", tmp_path / ".plan.mine.part"
    for path in (stale[0], fresh, other):
        path.mkdir()
    stale[1].write_text("half", encoding="utf-8")
    for path in (*stale, other):
        os.utime(path, (1e9, 1e9))
    write_folder(folder, {"plan.json": put("new")}, KNOWN)
    write_file(file, put("new"))
    assert not any(path.exists() for path in stale)
    assert fresh.is_dir() and other.is_dir()


def test_a_folder_that_another_run_wrote_meanwhile_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "plan"

    def slow(path: Path) -> None:
        path.write_text("mine", encoding="utf-8")
        folder.mkdir()
        (folder / "plan.json").write_text("theirs", encoding="utf-8")

    with pytest.raises(OutputError, match="written by another run meanwhile"):
        write_folder(folder, {"plan.json": slow}, KNOWN)
    assert listing(tmp_path) == {"plan/plan.json": "theirs"}


def test_nothing_is_written_among_the_images(tmp_path: Path) -> None:
    ct = tmp_path / "ct"
    (ct / "deep").mkdir(parents=True)
    for output in (
        ct / "a.seg.nrrd",
        ct / "deep" / "a.seg.nrrd",
        tmp_path / "ct" / ".." / "ct" / "x",
    ):
        with pytest.raises(OutputError, match="never written among the images"):
            check_file(output, overwrite=True, reserved=ct)
    check_file(tmp_path / "a.seg.nrrd", overwrite=False, reserved=ct)
