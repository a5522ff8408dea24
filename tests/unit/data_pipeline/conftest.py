from collections.abc import Iterator
from pathlib import Path

import pytest
from made_server import Server, serving, write_shards

from neuroleon.data_pipeline import launch, remote


@pytest.fixture
def jobs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sbatch and no squeue: submitit starts the processes of a job itself, and knows whether they live."""
    import submitit

    monkeypatch.setattr(
        submitit, "AutoExecutor", lambda folder, cluster, auto=submitit.AutoExecutor: auto(folder, "local")
    )
    monkeypatch.setattr(submitit.LocalJob, "_results_timeout_s", 1)
    monkeypatch.setattr(launch, "_queued", lambda jobs: not all(job.done() for job in jobs))
    monkeypatch.setattr(launch, "_POLL_S", 0.1)


@pytest.fixture(params=["local", "slurm", "ray"])
def on(request: pytest.FixtureRequest) -> str:
    """Where tasks run; Ray only where it is installed (extra `ray`)."""
    if request.param == "ray":
        pytest.importorskip("ray")
    return str(request.param)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture
def server(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NEUROLEON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "BACKOFF_S", (0.01,) * 5)
    with serving(shards) as running:
        yield running
