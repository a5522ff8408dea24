"""How fast a run is: what it gets through in a second, its memory, and its share of what the device can compute."""

import resource
import sys
import time

import torch

# Dense bf16, no sparsity, from the makers' data sheets (NVIDIA A100, H100 SXM, H200)
PEAKS = {"A100": 312e12, "H100 80GB HBM3": 989e12, "H200": 989e12}  # by a part of the device's name
MATRIX, REPEATS = {"cpu": 1024, "cuda": 8192}, 8  # the product that a device without a data sheet here is measured with


def peak_flops(device: torch.device, dtype: torch.dtype) -> tuple[float, str]:
    """Operations a second that the device reaches at best, and where the number is from.

    For a GPU in bf16 it is that of its data sheet; else the rate of a large matrix product, measured now (best of
    `REPEATS`, on the threads of this process).
    """
    if device.type == "cuda" and dtype == torch.bfloat16:
        name = torch.cuda.get_device_name(device)
        for key, peak in PEAKS.items():
            if key in name:
                return peak, f"data sheet of the {key}, dense bf16"
    n = MATRIX.get(device.type, 2048)
    a = torch.ones(n, n, device=device, dtype=dtype)
    best = min(_seconds(a) for _ in range(REPEATS))
    return 2 * n**3 / best, f"measured on a {n} x {n} matrix product"


def _seconds(a: torch.Tensor) -> float:
    start = time.perf_counter()
    a @ a
    if a.device.type == "cuda":
        torch.cuda.synchronize(a.device)
    return time.perf_counter() - start


class SpeedMeter:
    """Counts what batches hold and how long their steps took, between two lines of the log.

    Args:
        peak: operations a second of all ranks together; None: the stage does not say what a batch costs.
    """

    def __init__(self, device: torch.device, peak: float | None) -> None:
        self._device, self._peak = device, peak
        self._seconds, self._held = 0.0, dict[str, float]()

    def add(self, contents: dict[str, float], seconds: float) -> None:
        """Take in what the batches of a step hold, over all ranks, and how long it took."""
        self._seconds += seconds
        for name, amount in contents.items():
            self._held[name] = self._held.get(name, 0.0) + amount

    def read(self) -> dict[str, float]:
        """`NAME_per_s` of all that batches hold, `mfu` (model FLOPs utilisation: PaLM, arXiv 2204.02311, appendix B),
        and `memory_gb`, the most that this process has held; then count anew."""
        values = {f"{name}_per_s": amount / self._seconds for name, amount in self._held.items()}
        if self._peak is not None and "flops_per_s" in values:
            values["mfu"] = values["flops_per_s"] / self._peak
        self._seconds, self._held = 0.0, {}
        return {**values, "memory_gb": self._memory() / 1e9}

    def _memory(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        unit = 1 if sys.platform == "darwin" else 1024  # Linux counts kilobytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
