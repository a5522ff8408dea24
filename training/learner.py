"""What learns: module, optimizer and average on this rank, and the one step that all ranks take together.

What a step does depends on the settings and on the indices of its batches, on nothing else: a batch is a pure function
of its index (`Stage.batch`), the random numbers of its forward pass are drawn from the same index, and gradients are
added in an order that does not depend on who computed them (`parallel.py`).
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from neuroleon.common.checkpoint import load_tensors, load_weights
from neuroleon.common.errors import ConfigError
from neuroleon.common.seed import torch_generator
from neuroleon.training.config import RunConfig, precision
from neuroleon.training.optim import make_optimizer
from neuroleon.training.parallel import (
    PairwiseSum,
    gather_only_last,
    micro_batches,
    recompute,
    shard,
    share_buffers,
    sum_over_ranks,
    whole,
)
from neuroleon.training.schedule import rate_factor
from neuroleon.training.stage import Stage
from neuroleon.training.state import Ema, Progress, gathered, load_optimizer, optimizer_tensors, seed_rng


@dataclass(kw_only=True)
class Step:
    """What a step gave, the same on all ranks.

    Attributes:
        values: means of the losses over all batches, `gradient_norm`, `rate`.
        contents: what the batches hold, summed.
        fault: why the step was not taken, or None.
        flags: each flag of the ranks, true where it was on any.
    """

    values: dict[str, float]
    contents: dict[str, float]
    flags: list[bool]
    fault: str | None = None


@dataclass(kw_only=True)
class _Computed:
    """What the backward passes of this rank's batches left beside the gradients."""

    losses: list[dict[str, Tensor]] = field(default_factory=list)
    contents: dict[str, float] = field(default_factory=dict)


class Learner:
    """A stage's module in training.

    Args:
        stage: what is trained.
        config: how.
        accelerator: the device and the ranks.
        checkpoint: what it goes on from; None: fresh weights.

    Raises:
        ConfigError: a setting does not fit the ranks or the stage.
        CheckpointError: the checkpoint does not fit the stage.
    """

    def __init__(self, stage: Stage, config: RunConfig, accelerator: Accelerator, checkpoint: Path | None) -> None:
        self.stage, self.config, self.accelerator = stage, config, accelerator
        self.device, loop = accelerator.device, config.loop
        self.rank, self.ranks = accelerator.process_index, accelerator.num_processes
        if loop.batches_per_step % self.ranks:
            raise ConfigError(
                f"loop.batches_per_step is {loop.batches_per_step} and there are {self.ranks} ranks; give a multiple "
                f"of {self.ranks}: it is the number of batches that all ranks together compute in a step"
            )
        self.is_sharded = loop.shard and self.ranks > 1
        self.in_bf16 = precision(loop.mixed_precision) == "bf16"
        seed_rng(config.seed)
        self.module = stage.build()
        if checkpoint is not None:  # before weights are split over ranks: a file holds whole ones
            load_weights(self.module, checkpoint / "model.safetensors")
        self._prepare(stage.blocks(self.module))
        self.module.to(self.device)  # of a sharded module, what is left: FSDP2 moves each block by itself
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(self.module, config.optim)
        self.ema = Ema(self.module, loop.ema_decay) if loop.ema_decay is not None else None
        if checkpoint is not None:
            load_optimizer(checkpoint / "optimizer.safetensors", self.module, self.optimizer)
            if self.ema is not None:
                self.ema.load(load_tensors(checkpoint / "ema.safetensors"))

    def _prepare(self, blocks: list[nn.Module]) -> None:
        loop = self.config.loop
        wanted = [name for name in ("recompute", "compile", "shard") if getattr(loop, name)]
        if wanted and not blocks:
            raise ConfigError(f"loop.{wanted[0]} is for models of many blocks, and this stage has none; leave it out")
        if loop.recompute:
            recompute(blocks)
        if loop.compile:
            for block in blocks:
                block.compile()
        if self.is_sharded:
            shard(self.module, blocks, self.device)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """`model`, `optimizer` and, where there is an average, `ema`: whole, on the CPU, on the main process alone.

        Every rank must call it.
        """
        keep = self.rank == 0
        found = {
            "model": gathered(self.module.state_dict(), keep),
            "optimizer": gathered(optimizer_tensors(self.module, self.optimizer), keep),
        }
        return found if self.ema is None else {**found, "ema": self.judged()}

    def judged(self) -> dict[str, Tensor]:
        """The weights that are validated and exported, the average where there is one; as `tensors`."""
        with nullcontext() if self.ema is None else self.ema.applied():
            return gathered(self.module.state_dict(), keep=self.rank == 0)

    def step(self, batches: Iterator[dict[str, Tensor]], progress: Progress, flags: Callable[[], list[bool]]) -> Step:
        """One optimizer step; when it must not be taken, weights, optimizer and buffers stay as they were.

        Args:
            batches: of this rank, on the CPU.
            progress: the counters, which move on by the step.
            flags: what all ranks should know of each other, asked for when their gradients are there.
        """
        loop = self.config.loop
        # codebooks with moving averages are buffers that change in the forward pass, before anyone sees the loss
        buffers = {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        computed = self._backward(batches, progress.batches)
        share_buffers(self.module)
        norm = float(whole(nn.utils.clip_grad_norm_(self.parameters, loop.clip_norm)))
        rate = self.config.optim.lr * rate_factor(progress.step, loop.steps, self.config.schedule)
        taken = self._gathered(computed, flags())
        taken.values |= {"gradient_norm": norm, "rate": rate}
        taken.fault = progress.recent.fault(taken.values["loss"], norm, loop.spike_sigmas)
        if taken.fault is None:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
            if self.ema is not None:
                self.ema.update(progress.step)
        else:
            with torch.no_grad():
                for name, buffer in self.module.named_buffers():
                    buffer.copy_(buffers[name])
        self.optimizer.zero_grad()
        progress.step += 1
        progress.batches += loop.batches_per_step
        return taken

    def _backward(self, batches: Iterator[dict[str, Tensor]], first: int) -> _Computed:
        """Leave the gradient of the step that starts at batch `first`, of all ranks, in `.grad`."""
        loop, seed = self.config.loop, self.config.seed
        own = micro_batches(first, loop.batches_per_step, self.rank, self.ranks)
        share = 1 / (len(own) if self.is_sharded else loop.batches_per_step)  # FSDP takes the mean over ranks by itself
        gradients, computed = PairwiseSum(self.parameters), _Computed()
        for index in own:
            batch = next(batches)
            for name, amount in self.stage.contents(batch).items():
                computed.contents[name] = computed.contents.get(name, 0.0) + amount
            batch = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}
            seed_rng(torch_generator("batch", seed, index).initial_seed())
            gather_only_last(self.module, index == own[-1])
            with torch.autocast(self.device.type, torch.bfloat16) if self.in_bf16 else nullcontext():
                losses = self.stage.loss(self.module, batch)
            (losses["loss"] * share).backward()
            if not self.is_sharded:
                gradients.add()
            computed.losses.append({name: value.detach().float() for name, value in losses.items()})
        if not self.is_sharded:
            gradients.finish()
            sum_over_ranks(self.parameters)
        return computed

    def _gathered(self, computed: _Computed, flags: list[bool]) -> Step:
        """Means over the batches of all ranks, what they hold, and the flags of any rank."""
        names = list(computed.losses[0])
        own = torch.stack([torch.stack([losses[name] for name in names]) for losses in computed.losses])
        told = torch.tensor([[*map(float, flags), *computed.contents.values()]], device=self.device)
        table, told = self.accelerator.gather(own), self.accelerator.gather(told)
        values = dict(zip(names, table.nanmean(0).tolist(), strict=True))
        values["loss"] = table[:, names.index("loss")].mean().item()  # one NaN must show here
        sums = told[:, len(flags) :].sum(0).tolist()
        return Step(
            values=values,
            contents=dict(zip(computed.contents, sums, strict=True)),
            flags=(told[:, : len(flags)].amax(0) > 0).tolist(),
        )
