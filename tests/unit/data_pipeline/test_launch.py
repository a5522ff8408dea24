"""Tasks end the same wherever they run. The SLURM jobs are submitit's; it starts them here, in place of sbatch."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline import launch
from neuroleon.data_pipeline.launch import Launch, Slurm, run_tasks

HERE = Path(__file__).parent


@pytest.fixture
def letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A function that runs the letters that are not yet written, on what it is told."""
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    from letter_tasks import Letter, write

    def run(on: str, names: str = "abcdef", workers: int = 2) -> None:
        tasks = [task for name in names if not (task := Letter(tmp_path, name)).is_done()]
        done = len(names) - len(tasks)
        run_tasks(write, tasks, Launch(on=on, workers=workers), done=done, what="letters", logs=tmp_path / "logs")

    return run


def written(folder: Path) -> list[str]:
    """The letters in the order of their making."""
    return [line.split()[1] for line in (folder / "log").read_text().splitlines()]


@pytest.mark.parametrize("on", ["local", "slurm"])
def test_every_task_runs_once_in_at_most_two_processes(on: str, letters: Any, tmp_path: Path, jobs_here: None) -> None:
    letters(on)
    assert sorted(written(tmp_path)) == list("abcdef")
    processes = {line.split()[0] for line in (tmp_path / "log").read_text().splitlines()}
    assert len(processes) <= 2
    letters(on)
    assert len(written(tmp_path)) == 6


@pytest.mark.parametrize("on", ["local", "slurm"])
def test_an_error_of_a_task_comes_back_as_it_is(on: str, letters: Any, tmp_path: Path, jobs_here: None) -> None:
    (tmp_path / "bad-c").touch()
    with pytest.raises(DataError, match=r"^c is bad$"):
        letters(on)
    assert not (tmp_path / "c.txt").exists()


@pytest.mark.parametrize("on", ["local", "slurm"])
def test_a_killed_worker_costs_only_what_it_was_doing(on: str, letters: Any, tmp_path: Path, jobs_here: None) -> None:
    (tmp_path / "kill-f").touch()
    with pytest.raises(DataError, match="finished tasks are kept: run the same command again, with"):
        letters(on)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("?.txt")}
    assert 3 <= len(before) < 6
    letters(on)
    assert sorted(written(tmp_path)) == list("abcdef")
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
def test_ray_repeats_a_task_whose_worker_was_killed_and_ends_with_its_work(letters: Any, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")

    (tmp_path / "kill-b").touch()
    letters("ray")
    assert sorted(written(tmp_path)) == list("abcdef")
    (tmp_path / "bad-g").touch()
    with pytest.raises(DataError, match=r"^g is bad$"):
        letters("ray", names="abcdefg")
    assert not ray.is_initialized()


def test_a_job_that_slurm_starts_again_skips_what_is_done(letters: Any, tmp_path: Path) -> None:
    from letter_tasks import Letter, write

    tasks = [Letter(tmp_path, name) for name in "abc"]
    tasks[1].path.write_text("b")
    assert launch._in_turn(write, tasks) is None
    assert written(tmp_path) == ["a", "c"]


def test_shares_are_dealt_evenly_and_carry_what_was_asked(
    letters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted: list[Any] = []

    def submit(shares: list[Any], slurm: Slurm, logs: Path) -> list[Any]:
        submitted.extend(shares)
        for share in shares:
            share()
        return []

    monkeypatch.setattr(launch, "_submit", submit)
    monkeypatch.setattr(launch, "_queued", lambda jobs: False)
    letters("slurm", workers=4)
    assert [len(share.args[1]) for share in submitted] == [2, 2, 1, 1]


def test_a_machine_without_slurm_says_so(letters: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match=r"SLURM does not take the jobs: Could not detect .srun."):
        letters("slurm")


@pytest.mark.parametrize(("on", "library"), [("slurm", "submitit"), ("ray", "ray")])
def test_a_missing_library_is_named_with_its_extra(
    on: str, library: str, letters: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=rf'--on {on} needs {library}: pip install "neuroleon\[{on}\]"'):
        letters(on)


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"slurm": Slurm(hours=0)}, {"slurm": Slurm(memory_gb=-1)}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected workers of at least 1, hours and memory_gb over 0"):
        Launch(**wrong)
