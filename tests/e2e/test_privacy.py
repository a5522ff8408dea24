"""Nothing of what a recording's header says about people gets into anything that the project writes.

Fifteen kinds of such text are in twelve recordings of four formats, which go the whole way: shards, tokens, training,
decoding, the EEG tokenizer's commands, the report.
"""

import io
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import mne
import pytest
import torch
import yaml
from canaries import IN_HEADERS, ON_SCREENS, contents, found_in, write_recordings

from neuroleon import eeg, evaluate, prepare, sample, train
from neuroleon.data_pipeline.readers.mne_raw import read_recording
from neuroleon.signals.preprocess import Preprocess
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.network import EEGNetwork
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer
from neuroleon.tokenizers.image import ImageTokenizer
from neuroleon.tokenizers.vqgan import VQGAN, VQGANConfig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[2]
KEY = "a sentence that nobody guesses"
RECIPE = {
    "name": "clinic",
    "title": "Looking left and right",
    "licence": "CC0-1.0",
    "citation": "none",
    "source": {"reader": "mne", "folder": "eeg", "options": {
        "files": "*", "pattern": r"(?P<subject>\w+_\w+)_(?P<group>[abc])_\d.*\.(edf|bdf|vhdr|fif)$"}},
    "windows": [{"duration_s": 1.0}],
    "labels": {"map": {"look left": "left", "look right": "right", "*/look left": "left", "*/look right": "right"}},
    "split": {"by": "group", "train": ["a"], "validation": ["b"], "test": ["c"]},
    "picture": {"kind": "drawing", "draw": "field", "parameters": {"side": "{label}"}},
    "texts": {"wordings": ["Something is on the {label}.", "On the {label}."], "question": "Left or right?"},
}  # fmt: skip


@dataclass
class Walk:
    """Where everything lies, and what was on the screen, warnings too."""

    root: Path
    recordings: list[Path]
    screen: str = ""

    def run(self, main: Callable[[list[str]], None], *arguments: object) -> None:
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                main([str(argument) for argument in arguments])
            except SystemExit as stop:
                raise AssertionError(said.getvalue()) from stop
        self.screen += said.getvalue() + "\n".join(str(warning.message) for warning in caught)


def write_tokenizers(folder: Path) -> None:
    """Of pictures and EEG; untrained, that of the texts is trained before."""
    torch.manual_seed(0)
    config = EEGTokenizerConfig(
        dim=16, heads=2, sources=4, encoder_layers=1, decoder_layers=1, levels=4, codes=8, code_dim=4
    )
    network = EEGNetwork(config)
    network.quantizer(torch.randn(256, config.latent_dim), torch.full((256,), config.levels))
    EEGTokenizer(config, Preprocess(), network).save(folder / "eeg")
    image = VQGANConfig(patch=8, ch=32, ch_mult=(1, 2), z_channels=8, codebook_size=16, code_dim=4)
    ImageTokenizer(VQGAN(image), torch.randn(16, 4)).save(folder / "image")


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """The whole way from recordings to a report, in a folder `made`."""
    root = tmp_path_factory.mktemp("privacy")
    walk = Walk(root, write_recordings(root / "eeg"))
    (root / "clinic.yaml").write_text(yaml.safe_dump(RECIPE))
    (root / "key").write_text(KEY)
    made, shards, tokenizers = root / "made", root / "made" / "shards" / "clinic", root / "made" / "tokenizers"
    keyed = ("--key", root / "key")
    walk.run(prepare.main, "samples", "--recipe", root / "clinic.yaml", "--data", root, "--out", shards.parent, *keyed)
    walk.run(train.main, "text-tokenizer", "--samples", f"[{shards}]", "--size", 320, "--out", made / "text",
             "--export", tokenizers / "text")  # fmt: skip
    write_tokenizers(tokenizers)
    tokens = made / "tokens"
    walk.run(prepare.main, "tokens", "--samples", shards, "--tokenizers", tokenizers, "--out", tokens, "--variants", 2)
    model = {"dim": 32, "depth": 1, "heads": 2, "kv_heads": 1, "dim_head": 16, "max_length": 256}
    data = {"tokens": f"[{tokens / 'clinic'}]", "samples": f"[{shards}]", "tokenizers": tokenizers, "length": 256}
    settings = {
        **{f"model.{name}": value for name, value in model.items()},
        **{f"data.{name}": value for name, value in data.items()},
        **{"data.documents_per_batch": 4, "loop.steps": 4, "loop.validate_every": 2, "loop.save_every": 2},
        **{"loop.log_every": 1, "schedule.warmup": 1},
    }
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    walk.run(train.main, "pretrain", *flags, "--out", made / "pretrain")
    trained = made / "pretrain" / "final"
    for path in walk.recordings[-4:]:
        out = made / f"sample-{path.suffix[1:]}"
        walk.run(sample.main, "--task", "eeg2both", "--eeg", path, "--model", trained, "--n", 1, "--out", out)
    first = walk.recordings[0]
    walk.run(eeg.main, "reconstruct", first, "--model", tokenizers / "eeg", "--out", made / "restored_raw.fif")
    for kind in ("png", "svg", "pdf"):
        walk.run(eeg.main, "draw", first, "--model", tokenizers / "eeg", "--out", made / f"drawn.{kind}")
    walk.run(eeg.main, "tokenize", *walk.recordings[:4], "--model", tokenizers / "eeg", "--out", root / "npz")
    for path in (root / "npz").iterdir():  # they are named after the recordings, for their owner to rename
        (made / "npz").mkdir(exist_ok=True)
        path.rename(made / "npz" / f"{len(list((made / 'npz').iterdir()))}.npz")
    walk.run(evaluate.main, "--model", trained, "--samples", shards, "--limit", 4, "--out", made / "report")
    walk.run(evaluate.main, "tokenizer", "--tokenizer", tokenizers / "eeg", "--samples", shards, "--limit", 10,
             "--parts", "robustness", "--recordings", first, "--out", made / "report-eeg")  # fmt: skip
    return walk


def test_the_recordings_do_say_everything(walk: Walk) -> None:
    """Else the search would find nothing whatever the project does."""
    said = b"".join(content for _, content in contents(walk.root / "eeg"))
    words = {word for kind in IN_HEADERS.values() for word in kind}
    assert len(IN_HEADERS) == 15
    assert words - found_in(said, IN_HEADERS) == set()
    assert found_in("\u00c4JÄGERSTÄTTER 5550199".encode("utf-16-le"), IN_HEADERS | ON_SCREENS) == {
        "Jägerstätter",
        "5550199",
    }
    for path in walk.recordings:  # and all of it is read by mne
        assert any("5550199" in event.code for event in read_recording(path).events)


def test_nothing_that_is_stored_says_any_of_it(walk: Walk) -> None:
    found, kinds = {}, set()
    for path, content in contents(walk.root / "made"):
        kinds.add(path.suffix)
        if words := found_in(content, IN_HEADERS | ON_SCREENS | {"key": (KEY,)}):
            found[str(path)] = sorted(words)
    assert not found
    assert {
        ".tar",
        ".json",
        ".jsonl",
        ".html",
        ".png",
        ".svg",
        ".pdf",
        ".npz",
        ".fif",
        ".safetensors",
        ".md",
        ".txt",
    } <= kinds
    assert any("tfevents" in str(path) for path, _ in contents(walk.root / "made"))
    restored = mne.io.read_info(walk.root / "made" / "restored_raw.fif", verbose="ERROR")
    assert restored["meas_date"] is None
    assert json.loads((walk.root / "made/shards/clinic/manifest.json").read_text())["pseudonyms"] == "keyed"


def test_screens_show_names_of_files_events_and_columns_and_nothing_else(walk: Walk) -> None:
    assert "no label" in walk.screen
    assert "5550199" in walk.screen, "what to put into the map, for the owner of the files"
    hidden = {kind: words for kind, words in IN_HEADERS.items() if kind != "name"}  # which the files are named after
    assert not found_in(walk.screen.encode(), hidden | {"key": (KEY,)})


def test_a_picture_of_a_recording_does_not_show_how_its_file_is_called(walk: Walk, tmp_path: Path) -> None:
    """Letters in a picture cannot be searched for: the same recording under two names must give the same bytes."""
    made = []
    for name in ("Wendelina_raw.fif", "x_raw.fif"):
        path, out = tmp_path / name, tmp_path / f"of-{name}"
        path.write_bytes(next(p for p in walk.recordings if p.suffix == ".fif").read_bytes())
        tokenizer, model = walk.root / "made/tokenizers/eeg", walk.root / "made/pretrain/final"
        walk.run(eeg.main, "draw", path, "--model", tokenizer, "--out", out / "drawn.png")
        walk.run(sample.main, "--task", "eeg2text", "--eeg", path, "--model", model, "--n", 1, "--out", out / "sample")
        made.append(list(contents(out)))
    assert made[0] == made[1]


def damage(recordings: list[Path], folder: Path) -> list[Path]:
    """Each of them in three ways."""
    damaged = []
    for path in recordings:
        for harm in (cut, shifted, scrambled):
            stem = f"{harm.__name__}-{path.suffix[1:]}"
            damaged.append(folder / f"{stem}{'_raw' * (path.suffix == '.fif')}{path.suffix}")
            copy_beside(path, folder, stem)
            damaged[-1].write_bytes(harm(path.read_bytes()))
    return damaged


def copy_beside(header: Path, folder: Path, stem: str) -> None:
    """A BrainVision recording under another name; of other formats there is nothing beside the file."""
    for suffix in (".vhdr", ".vmrk", ".eeg") if header.suffix == ".vhdr" else ():
        content = header.with_suffix(suffix).read_bytes()
        (folder / f"{stem}{suffix}").write_bytes(content.replace(header.stem.encode(), stem.encode()))


def test_messages_about_damaged_recordings_hold_no_text_of_their_headers(walk: Walk, tmp_path: Path) -> None:
    """In processes of their own: what libraries print and warn is on the screen too."""
    (tmp_path / "eeg").mkdir()
    damaged = damage(walk.recordings[:4], tmp_path / "eeg")
    options = {"files": "*", "pattern": r"\.(edf|bdf|vhdr|fif)$"}
    changed = {"source": {"reader": "mne", "folder": "eeg", "options": options}, "split": {"train": ["*"]}}
    (tmp_path / "clinic.yaml").write_text(yaml.safe_dump(RECIPE | changed))
    out = ("--out", str(tmp_path / "out"))
    for command in (
        ["eeg.py", "tokenize", *map(str, damaged), "--model", str(walk.root / "made/tokenizers/eeg")],
        ["prepare.py", "samples", "--recipe", str(tmp_path / "clinic.yaml"), "--data", str(tmp_path), *out],
    ):
        command = [sys.executable, "-W", "always", *command]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
        said = done.stdout + done.stderr
        assert done.returncode == 2, said
        assert said.count("eeg/") >= len(damaged)
        assert "Traceback" not in said
        assert not found_in(said.encode(), IN_HEADERS)
    for path, content in contents(tmp_path / "out"):  # what failed is in .tasks: by the names of files alone
        assert not found_in(content, IN_HEADERS | ON_SCREENS), path


def cut(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def shifted(content: bytes) -> bytes:
    """Text comes to lie where numbers were."""
    return content[:60] + content[67:]


def scrambled(content: bytes) -> bytes:
    """A number of the header becomes a name, which readers put into their errors."""
    if b"NumberOfChannels" in content:
        return content.replace(b"NumberOfChannels=6", b"NumberOfChannels=Brotkorb")
    return content[:184] + b"Brotkorb" + content[192:]
