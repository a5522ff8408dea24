"""The only training loop: fetch, forward, backward, clip, step, log, validate, save; a resume is exact to the bit."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from neuroleon.common.checkpoint import load_weights, prune, require_space, step_folder
from neuroleon.common.errors import CheckpointError, DataError
from neuroleon.common.files import MANIFEST, atomic_folder, sha256_json
from neuroleon.common.seed import torch_generator
from neuroleon.training.config import RunConfig, precision
from neuroleon.training.log import RunLog, add_provenance
from neuroleon.training.optim import make_optimizer
from neuroleon.training.schedule import rate_factor
from neuroleon.training.stage import Stage
from neuroleon.training.state import (
    Ema,
    capture_rng,
    choose_checkpoint,
    load_checkpoint,
    load_rng,
    restore_rng,
    rng_aside,
    save_checkpoint,
    seed_rng,
)

KEEP = 2  # checkpoints beside the best one: the newest may be damaged
MAX_SKIPPED = 10  # steps in a row without a finite loss
WORKER_TIMEOUT_S = 300  # a hung worker ends the run with a message


class _StageLoss(nn.Module):
    """The loss as a module's forward, so that DDP encloses it. accelerate's autocast would copy all outputs to fp32."""

    def __init__(self, stage: Stage, module: nn.Module, device: torch.device, in_bf16: bool) -> None:
        super().__init__()
        self.module, self.stage_loss, self.device, self.in_bf16 = module, stage.loss, device, in_bf16

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.in_bf16):
            return self.stage_loss(self.module, batch)


class _Batches(Dataset[dict[str, Tensor]]):
    """The batches of a stage by their index."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.stage.batch(index)


class Trainer:
    """One run of one stage in one folder.

    Args:
        stage: what is trained.
        config: how.
        out: the run folder: `checkpoints/`, `metrics.jsonl`, `tensorboard/`, `config.json`, `env.txt`.
        settings: all settings, for `config.json`.
        resume: `none`, `auto` (the newest undamaged checkpoint of `out`, if there is one) or the path of a checkpoint.

    Raises:
        ConfigError: `out` holds a run already and `resume` does not take it up.
        CheckpointError: the checkpoint is damaged or belongs to other settings or data.
    """

    def __init__(
        self, stage: Stage, config: RunConfig, out: Path, *, settings: dict[str, Any], resume: str = "none"
    ) -> None:
        self.started = time.monotonic()
        self.stage, self.config, self.settings, self.folder = stage, config, settings, out / "checkpoints"
        own = {name: value for name, value in settings.items() if name not in ("loop", "schedule")}
        self.identity = sha256_json({"settings": own, "data": stage.fingerprint})
        # unused parameters are allowed: a batch may hold no picture
        ddp = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(mixed_precision="no", kwargs_handlers=[ddp])
        self.device, self.rank = self.accelerator.device, self.accelerator.process_index
        checkpoint, self.progress = self._agreed(
            choose_checkpoint(out, resume, self.identity) if self.rank == 0 else None
        )
        seed_rng(config.seed)
        self.module = stage.build()
        in_bf16 = precision(config.loop.mixed_precision) == "bf16"
        self.wrapped = self.accelerator.prepare(_StageLoss(stage, self.module, self.device, in_bf16))
        self.optimizer = make_optimizer(self.module, config.optim)
        self.ema = Ema(self.module, config.loop.ema_decay) if config.loop.ema_decay is not None else None
        self.rng = None
        if checkpoint is not None:
            load_checkpoint(checkpoint, module=self.module, ema=self.ema, optimizer=self.optimizer)
            self.rng = load_rng(checkpoint, self.rank)
        step = self.progress.step
        # a checkpoint of another folder is not here yet, should the run end without a step
        is_here = checkpoint is not None and checkpoint.resolve().parent == self.folder.resolve()
        self.saved_step = step if is_here else None
        self.sigterm = False  # what this rank has seen; the two below are agreed by all ranks
        self.signalled = self.out_of_time = False
        self.log = RunLog(out if self.rank == 0 else None, settings, step=step, steps=config.loop.steps)
        if checkpoint is not None:
            self.log.say(f"resumed {checkpoint} after {step} steps")

    def _agreed(self, value: Any) -> Any:
        """The main process's `value`, on every rank."""
        return broadcast_object_list([value])[0]

    def _loader(self) -> Iterator[dict[str, Tensor]]:
        """The batches of this rank from where the run stands to its end: rank r takes every N-th index from r on."""
        loop, n_ranks = self.config.loop, self.accelerator.num_processes
        start = self.progress.batches
        stop = start + (loop.steps - self.progress.step) * loop.accumulate * n_ranks
        loader = DataLoader(
            _Batches(self.stage),
            sampler=range(start + self.rank, stop, n_ranks),
            batch_size=None,
            num_workers=loop.num_workers,
            generator=torch.Generator(),  # its own: otherwise every new iterator draws from torch's global generator
            pin_memory=self.device.type == "cuda",
            timeout=WORKER_TIMEOUT_S if loop.num_workers else 0,
        )
        return iter(loader)

    def run(self, final: Path) -> Path | None:
        """Train to the end and export to `final`.

        Returns:
            `final`, or None when SIGTERM ended the run early: its checkpoint is saved, nothing is exported.

        Raises:
            DataError: ten steps in a row were not finite.
            CheckpointError: the disk is full, or no validation gave a finite score.
        """
        before = signal.signal(signal.SIGTERM, self._on_sigterm)
        try:
            self._train()
            if self.signalled:
                self.log.say(f"SIGTERM: saved after {self.progress.step} steps; continue with --resume auto")
                return None
            if self.progress.validated_step != self.progress.step:
                self._validate()
            self._save()
            self._export(final)
            return final
        finally:
            signal.signal(signal.SIGTERM, before)
            self.log.close()
            self.accelerator.end_training()

    def _on_sigterm(self, *_: object) -> None:
        self.sigterm = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second signal ends at once

    def _train(self) -> None:
        loop, progress = self.config.loop, self.progress
        batches = self._loader()
        if self.rng is not None:
            restore_rng(self.rng, self.device)
        else:  # a new run, or a rank that the resumed run did not have
            seed_rng(torch_generator("rank", self.config.seed, self.rank, progress.step).initial_seed())
        self.wrapped.train()
        while progress.step < loop.steps and not (self.signalled or self.out_of_time):
            values = self._step(batches)
            self.log.advance(values["loss"])
            if progress.step % loop.log_every == 0:
                self.log.metrics("train", progress.step, values)
            due = progress.step % loop.validate_every == 0 or progress.step == loop.steps
            improved = due and self._validate()
            if improved or self.signalled or progress.step % loop.save_every == 0:
                self._save()

    def _step(self, batches: Iterator[dict[str, Tensor]]) -> dict[str, float]:
        """One optimizer step; when loss or gradient is not finite, weights, optimizer and buffers stay as they were."""
        loop, progress = self.config.loop, self.progress
        # codebooks with moving averages are buffers that change in the forward pass, before anyone sees the loss
        buffers = {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        rows = []
        for left in reversed(range(loop.accumulate)):
            batch = {name: tensor.to(self.device, non_blocking=True) for name, tensor in next(batches).items()}
            with self.accelerator.no_sync(self.wrapped) if left else nullcontext():
                losses = self.wrapped(batch)
                self.accelerator.backward(losses["loss"] / loop.accumulate)
            rows.append({name: value.detach().float() for name, value in losses.items()})
        norm = self.accelerator.clip_grad_norm_(self.module.parameters(), loop.clip_norm)
        rate = self.config.optim.lr * rate_factor(progress.step, loop.steps, self.config.schedule)
        values = {**self._gathered(rows), "gradient_norm": float(norm), "rate": rate}
        if math.isfinite(values["loss"]) and math.isfinite(values["gradient_norm"]):
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
            if self.ema is not None:
                self.ema.update(self.module, progress.step)
            progress.skipped_in_a_row = 0
        else:
            self._skip(buffers, values)
        self.optimizer.zero_grad()
        progress.step += 1
        progress.batches += loop.accumulate * self.accelerator.num_processes
        return values

    def _gathered(self, rows: list[dict[str, Tensor]]) -> dict[str, float]:
        """Means over the micro-batches of all ranks, and what ends the run on any rank, in one exchange."""
        names = list(rows[0])
        limit = self.config.loop.max_minutes
        late = limit is not None and time.monotonic() - self.started > 60 * limit
        ends = torch.tensor([float(self.sigterm), float(late)], device=self.device)
        table = torch.stack([torch.cat([torch.stack([row[name] for name in names]), ends]) for row in rows])
        table = self.accelerator.gather(table)
        self.signalled, self.out_of_time = (table[:, -2:].amax(0) > 0).tolist()
        means = dict(zip(names, table[:, :-2].nanmean(0).tolist(), strict=True))
        means["loss"] = table[:, names.index("loss")].mean().item()  # one NaN must show here
        return means

    def _skip(self, buffers: dict[str, Tensor], values: dict[str, float]) -> None:
        """Undo what a step that is not finite did to the buffers, and count it."""
        progress, n_batches = self.progress, self.config.loop.accumulate * self.accelerator.num_processes
        with torch.no_grad():
            for name, buffer in self.module.named_buffers():
                buffer.copy_(buffers[name])
        progress.skipped += 1
        progress.skipped_in_a_row += 1
        where = f"batches {progress.batches} to {progress.batches + n_batches - 1}"
        self.log.metrics("skipped", progress.step, {**values, "first_batch": progress.batches})
        self.log.say(f"skipped step {progress.step}: loss or gradient is not finite ({where})")
        if progress.skipped_in_a_row >= MAX_SKIPPED:
            raise DataError(
                f"{MAX_SKIPPED} steps in a row gave a loss or gradient that is not finite, the last on {where}; "
                "look at these batches (stage.batch), lower optim.lr, or set loop.mixed_precision to no"
            )

    def _evaluated(self) -> nn.Module:
        return self.module if self.ema is None else self.ema.module

    def _validate(self) -> bool:
        """Validate and show examples; whether the score is the best so far."""
        progress, module = self.progress, self._evaluated()
        module.eval()
        with torch.no_grad(), rng_aside(self.config.seed, self.device):
            values = self._agreed(self.stage.validate(module))
            if self.rank == 0:
                self.log.examples(progress.step, self.stage.examples(module))
        self.wrapped.train()
        progress.validated_step = progress.step
        self.log.metrics("validation", progress.step, values)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        self.log.say(f"step {progress.step}/{self.config.loop.steps}  {shown}")
        score = values["score"]
        improved = math.isfinite(score) and (progress.best_score is None or score < progress.best_score)
        if improved:
            progress.best_score, progress.best_step = score, progress.step
        return improved

    def _save(self) -> None:
        """Write a checkpoint, once per step, and delete the ones that are no longer needed."""
        progress = self.progress
        if self.saved_step == progress.step:
            return
        rng = gather_object([capture_rng(self.device)])
        if self.rank == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            weights = sum(t.numel() * t.element_size() for t in self.module.state_dict().values())
            require_space(self.folder, 5 * weights)  # weights, average, two moments, and something over
            save_checkpoint(
                step_folder(self.folder, progress.step),
                module=self.module,
                ema=self.ema,
                optimizer=self.optimizer,
                progress=progress,
                rng=rng,
                identity=self.identity,
            )
            prune(self.folder, KEEP, also=[] if progress.best_step is None else [progress.best_step])
        self.accelerator.wait_for_everyone()
        self.saved_step = progress.step

    def _export(self, final: Path) -> None:
        """Let the stage write the best weights to `final`, which appears whole or not at all."""
        if self.progress.best_step is None:
            raise CheckpointError(
                f"{self.folder.parent}: no validation gave a finite score, so nothing is exported; "
                "look at metrics.jsonl, and start again with a lower optim.lr"
            )
        if self.rank == 0:
            best, module = step_folder(self.folder, self.progress.best_step), self._evaluated()
            load_weights(module, best / ("model.safetensors" if self.ema is None else "ema.safetensors"))
            module.eval()
            with torch.no_grad(), atomic_folder(final) as folder:
                self.stage.export(module, folder)
                add_provenance(folder, self.settings, asdict(self.progress), self.config.loop.steps)
                (folder / MANIFEST).unlink(missing_ok=True)  # of a tokenizer's own `save`; it is made anew
            self.log.say(f"wrote {final} (step {self.progress.best_step}, score {self.progress.best_score:.4g})")
        self.accelerator.wait_for_everyone()
