"""Where the tasks of a preparation run: in processes of this machine, as an array of SLURM jobs, or on Ray.

Tasks write files and can be repeated: from elsewhere nothing but errors comes back, and a run that was killed goes on.
"""

import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, Protocol

from tqdm import tqdm

from neuroleon.common.errors import ConfigError, DataError, NeuroleonError

_POLL_S = 5.0


class Task(Protocol):
    """What can be run: picklable, and it knows from its files whether it is done."""

    def is_done(self) -> bool: ...


Work = Callable[[Any], Any]  # makes one task; picklable


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """What each job asks for; `partition` None is the default one. sbatch also reads SBATCH_ACCOUNT, SBATCH_QOS ..."""

    partition: str | None = None
    hours: float = 4.0
    memory_gb: float = 8.0


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Where tasks run, and in how many processes, SLURM jobs, or calls of Ray at a time."""

    on: Literal["local", "slurm", "ray"] = "local"
    workers: int = 1
    slurm: Slurm = field(default_factory=Slurm)

    def __post_init__(self) -> None:
        if self.workers < 1 or not self.slurm.hours > 0 or not self.slurm.memory_gb > 0:
            raise ConfigError(f"{self}; expected workers of at least 1, hours and memory_gb over 0")

    @property
    def is_here(self) -> bool:
        """Whether tasks run in this very process."""
        return self.on == "local" and self.workers == 1


HERE = Launch()  # one after the other, in this process


def run_tasks(work: Work, tasks: Sequence[Task], launch: Launch, *, done: int, what: str, logs: Path) -> list[Any]:
    """Call `work` with each task. Where one fails, those that run or wait are given up.

    Args:
        done: tasks that an earlier run has finished; they count in the bar.
        what: is made; for the bar and messages.
        logs: the folder for what SLURM's jobs print and for the tasks as they were handed over.

    Returns:
        What `work` gave, as it came; None for each task that ran elsewhere.

    Raises:
        ConfigError: a library or SLURM is not here, or SLURM does not take the jobs.
        DataError: a worker was killed, or ran out of time. Finished tasks are kept.
    """
    places = {"local": _local, "slurm": _slurm, "ray": _ray}
    with tqdm(total=done + len(tasks), initial=done, unit="shard", desc=what, disable=not tasks) as bar:
        found = []
        for result in places[launch.on](work, tasks, launch, logs) if tasks else ():
            found.append(result)
            bar.update()
        return found


def _lost(why: str, remedy: str) -> DataError:
    return DataError(f"{why}; finished tasks are kept: run the same command again, {remedy}")


def _local(work: Work, tasks: Sequence[Task], launch: Launch, _: Path) -> Iterator[Any]:
    if launch.is_here:
        yield from map(work, tasks)
        return
    # spawn: a fork would copy the threads of numpy's and torch's libraries in an unknown state
    with ProcessPoolExecutor(min(launch.workers, len(tasks)), get_context("spawn")) as pool:
        try:
            for future in as_completed([pool.submit(work, task) for task in tasks]):
                yield future.result()
        except BrokenProcessPool:
            raise _lost("a worker was killed, perhaps for memory", "with fewer workers") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _in_turn(work: Work, tasks: Sequence[Task]) -> NeuroleonError | None:
    """What a job, or Ray, runs. An error that a user can mend comes back whole."""
    try:
        for task in tasks:
            if not task.is_done():
                work(task)
    except NeuroleonError as error:
        return error
    return None


def _ray(work: Work, tasks: Sequence[Task], launch: Launch, _: Path) -> Iterator[None]:
    """On the cluster that RAY_ADDRESS names, else on an instance of Ray on this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise ConfigError('--on ray needs ray: pip install "neuroleon[ray]"') from None
    waiting, running = list(tasks), list[Any]()
    with ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR):
        call = ray.remote(_in_turn)
        try:
            while waiting or running:
                while waiting and len(running) < launch.workers:
                    running.append(call.remote(work, [waiting.pop(0)]))
                [ended], running = ray.wait(running)
                if error := ray.get(ended):
                    raise error
                yield
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):  # when Ray repeated it, too
            raise _lost("a worker was killed, perhaps for memory", "with fewer workers") from None


def _slurm(work: Work, tasks: Sequence[Task], launch: Launch, logs: Path) -> Iterator[None]:
    """One array, each job of which has a share of the tasks; a job that SLURM starts again skips what is done."""
    n_jobs = min(launch.workers, len(tasks))
    jobs = _submit([partial(_in_turn, work, tasks[i::n_jobs]) for i in range(n_jobs)], launch.slurm, logs)
    try:
        while tasks:
            over = not _queued(jobs)  # asked first: what is not done then will not be
            left = [task for task in tasks if not task.is_done()]
            yield from [None] * (len(tasks) - len(left))
            tasks = left
            ended = [job for job in jobs if job.paths.result_pickle.exists()]
            failed = [job for job in ended if job.exception()]
            for error in (job.result() for job in ended if job not in failed):
                if error:
                    raise error
            if tasks and (over or failed):
                why = f"a job failed, was killed or ran out of time; its log lies in {logs}"
                raise _lost(why, "with more --slurm.hours or --slurm.memory_gb if that was it")
            time.sleep(_POLL_S if tasks else 0)
    except BaseException:  # Ctrl-C too
        for job in jobs:
            job.cancel(check=False)
        raise


def _submit(shares: list[Callable[[], Any]], slurm: Slurm, logs: Path) -> list[Any]:
    try:
        import submitit
    except ImportError:
        raise ConfigError('--on slurm needs submitit: pip install "neuroleon[slurm]"') from None
    asked = {"timeout_min": ceil(60 * slurm.hours), "mem_gb": slurm.memory_gb, "slurm_partition": slurm.partition}
    try:
        executor = submitit.AutoExecutor(logs, cluster="slurm")
        executor.update_parameters(name="neuroleon", slurm_array_parallelism=len(shares), **asked)
        return executor.submit_array(shares)
    except RuntimeError as error:  # no srun on this machine, or what sbatch says
        raise ConfigError(f"SLURM does not take the jobs: {error}") from None


def _queued(jobs: list[Any]) -> bool:
    """Whether SLURM still has one of the jobs. submitit would ask sacct, which many clusters do not have."""
    array = jobs[0].job_id.partition("_")[0]
    asked = subprocess.run(["squeue", "--noheader", f"--jobs={array}"], capture_output=True, text=True, check=False)
    return bool(asked.stdout.strip()) or (asked.returncode != 0 and "Invalid job id" not in asked.stderr)
