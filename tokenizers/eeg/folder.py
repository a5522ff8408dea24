"""The folder of an EEG tokenizer, read: `config.json`, `model.safetensors`, `manifest.json`."""

from pathlib import Path

from neuroleon.common.checkpoint import load_tensors
from neuroleon.common.errors import CheckpointError, ConfigError
from neuroleon.common.files import read_json, verify_folder
from neuroleon.signals.background import TOP_HZ
from neuroleon.signals.preprocess import Preprocess
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.network import EEGNetwork
from neuroleon.tokenizers.eeg.surprise import Calibration

FORMAT = "neuroleon.eeg-tokenizer/5"


def read_folder(folder: Path) -> tuple[EEGTokenizerConfig, Preprocess, EEGNetwork, int, Calibration | None]:
    """Settings, front-end, network, levels in use, and the calibration where there is one.

    Raises:
        CheckpointError: damaged, of another format, or weights that do not fit their settings.
    """
    verify_folder(folder)
    stored = read_json(folder / "config.json")
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder}/config.json: format is not {FORMAT!r}; it was made by another version, or is no EEG "
            "tokenizer: train it again, or use the version that made it"
        )
    try:
        network_settings = stored["network"] | {"spectral_samples": tuple(stored["network"]["spectral_samples"])}
        config = EEGTokenizerConfig(**network_settings)
        preprocess, levels = Preprocess.from_json(stored["preprocess"]), int(stored["levels_in_use"])
        if not 1 <= levels <= config.levels:
            raise ConfigError(f"levels_in_use is {levels}, expected 1 to {config.levels}")
        calibration = Calibration(**stored["calibration"]) if "calibration" in stored else None
        network = EEGNetwork(config)
        subjects = [str(name) for name in stored.get("subjects", [])]
    except (KeyError, TypeError, ValueError, ConfigError, RuntimeError) as error:
        raise CheckpointError(f"{folder}/config.json: {error}; it was written by another version") from None
    tensors = {name: x.float() for name, x in load_tensors(folder / "model.safetensors").items()}
    evidence = network.encoder.evidence
    own = {kind: f"encoder.evidence.{kind}.told" in tensors for kind in ("own", "own_rhythms")}
    evidence.know(subjects, responses=own["own"], rhythms=own["own_rhythms"])
    if (usual := tensors.get("encoder.evidence.usual_background")) is not None:
        if usual.shape != (TOP_HZ,):
            raise CheckpointError(f"{folder}: usual_background has shape {tuple(usual.shape)}, expected ({TOP_HZ},)")
        evidence.tell_from(usual)
    shapes = {name: x.shape for name, x in network.state_dict().items() if not name.startswith("quantizer.")}
    codebooks = {f"codebook.{level}": network.quantizer.vectors(level).shape for level in range(config.levels)}
    if {name: x.shape for name, x in tensors.items()} != shapes | codebooks:
        raise CheckpointError(
            f"{folder}: model.safetensors does not fit config.json; copy the folder again, or where another version "
            "made it, train it anew"
        )
    network.load_state_dict({name: tensors[name] for name in shapes}, strict=False)
    for level in range(config.levels):
        network.quantizer.set_vectors(level, tensors[f"codebook.{level}"])
    return config, preprocess, network, levels, calibration
