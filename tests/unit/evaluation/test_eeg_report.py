"""The tokenizer report on a small set: gates that tell good from bad, a folder to read, and a command that refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch

import neuroleon.evaluate as command
from neuroleon.common.errors import ConfigError
from neuroleon.common.files import read_json, write_json
from neuroleon.data_pipeline.shards import shard_path, write_manifest, write_shard
from neuroleon.evaluation.eeg import gates
from neuroleon.evaluation.eeg.fidelity import BANDS, CORRELATION, NMSE
from neuroleon.evaluation.eeg.novelty import FLAT, WHITE, Novelty
from neuroleon.evaluation.eeg.page import table
from neuroleon.evaluation.eeg.robustness import Robustness
from neuroleon.evaluation.eeg.runner import TokenizerEvaluation, evaluate_tokenizer_folder, trained_sets
from neuroleon.evaluation.stats import Estimate
from neuroleon.evaluation.tokenizers import CodeUse, Fidelity
from neuroleon.signals.montage import electrode_positions, electrodes
from neuroleon.signals.preprocess import Preprocess
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.network import EEGNetwork
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer

NAMES = ("O1", "O2", "Oz", "Pz", "Cz", "Fz")
LABELS = ("early", "late")
CONFIG = EEGTokenizerConfig(
    sources=4, dim=32, heads=2, encoder_layers=1, decoder_layers=1, levels=3, codes=16, code_dim=8
)
SPLIT_OF = ("train", "train", "train", "validation", "test")


def trial(rng: np.random.Generator, label: int) -> np.ndarray:
    """A response, early or late in the window, at the back of the head, in noise; average-referenced, scale 1."""
    seconds = np.arange(200) / 200
    response = 4 * np.exp(-((seconds - (0.25, 0.65)[label]) ** 2) / 0.005)
    eeg = rng.standard_normal((len(NAMES), 200)) + np.outer([1, 1, 1, 0.5, 0, -1], response)
    return eeg - eeg.mean(axis=0)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five recordings of two subjects with 24 trials each; split by recording."""
    folder, rng = tmp_path_factory.mktemp("sets") / "toy", np.random.default_rng(0)
    records: dict[str, list[dict[str, object]]] = {"train": [], "validation": [], "test": []}
    for recording, split in enumerate(SPLIT_OF):
        for i in range(24):
            meta = {
                "recipe": "toy", "subject": f"s{i % 2}", "recording": f"r{recording}", "group": "", "split": split,
                "ch_names": NAMES, "positions": electrode_positions(NAMES).tolist(), "sfreq": 200.0, "scale_uV": 10.0,
                "label": LABELS[i % 2], "texts": ["A flash."], "label_text": LABELS[i % 2], "question": "When?",
                "image_key": None, "onset_s": 5.0 * i,
            }  # fmt: skip
            records[split].append(
                {"__key__": f"r{recording}-{i}", "npy": trial(rng, i % 2).astype(np.float16), "json": meta}
            )
    for split, of in records.items():
        write_shard(shard_path(folder, split, 0), of, required=("json", "npy"))
    write_manifest(folder, name="toy", preprocess=Preprocess().to_json())
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained tokenizer that says it was trained on another set."""
    torch.manual_seed(0)
    network, rng = EEGNetwork(CONFIG).train(), np.random.default_rng(1)
    eeg = torch.from_numpy(np.stack([trial(rng, i % 2) for i in range(16)])).float()
    places = torch.from_numpy(electrodes(electrode_positions(NAMES))).expand(16, -1, -1)
    present, valid = torch.ones(eeg.shape[:2], dtype=torch.bool), torch.ones(16, 200, dtype=torch.bool)
    latents = network.encoder(eeg, places, present, valid).flatten(0, 1)
    network.quantizer(latents, torch.full((len(latents),), CONFIG.levels))
    made = tmp_path_factory.mktemp("tokenizers") / "tiny"
    EEGTokenizer(CONFIG, Preprocess(), network, levels=2).save(made)
    write_json(made / "training.json", {"settings": {"data": {"samples": ["runs/samples/other"]}}})
    return made


def estimate(mean: float) -> Estimate:
    return Estimate(mean=mean, low=mean - 0.1, high=mean + 0.1)


def fidelity(recipe: str, correlation: float) -> Fidelity:
    measures = {name: estimate(correlation) for name in (CORRELATION, *BANDS.values())} | {NMSE: estimate(0.3)}
    return Fidelity(modality="eeg", recipe=recipe, n=9, measures=measures, codes=())


def test_gates_take_the_mean_and_name_the_worst_set() -> None:
    use = CodeUse(name="level 1", size=1024, n_tokens=9000, used=0.95, perplexity=300.0)
    found = {g.name: g for g in gates.fidelity_gates([fidelity("a", 0.9), fidelity("b", 0.6)], use)}
    assert found[CORRELATION].verdict == gates.PASS and found[CORRELATION].worst == "b 0.600"
    assert found[BANDS["alpha"]].verdict == gates.PASS and found[NMSE].verdict == gates.PASS
    assert found[BANDS["gamma"]].verdict == "-", "the small configuration asks nothing of it"
    assert found["codes used, level 1"].verdict == gates.PASS
    assert found["perplexity, level 1"].verdict == gates.FAIL
    low = {g.name: g.verdict for g in gates.fidelity_gates([fidelity("a", 0.9), fidelity("b", 0.4)], use)}
    assert low[CORRELATION] == gates.FAIL and low[BANDS["beta"]] == gates.PASS


def test_one_id_that_moves_with_the_order_fails_the_gate() -> None:
    same = Robustness(
        recipe="a", n_windows=9, permuted=1.0, units={"x10": (1.0, True)}, dropped=estimate(0.6), filled={}
    )
    moved = Robustness(recipe="b", n_windows=9, permuted=0.999, units={"x10": (1.0, False)}, dropped=None, filled={})
    verdicts = [g.verdict for g in gates.robustness_gates([same, moved])]
    assert verdicts == [gates.FAIL, gates.PASS, gates.FAIL, gates.PASS]
    assert [g.verdict for g in gates.robustness_gates([same])] == [gates.PASS] * 4


def test_strange_input_must_be_flagged_in_nearly_every_window() -> None:
    rows = [
        Novelty(recipe="a", kind=kind, n_windows=9, mean_z=5.0, flagged=flagged)
        for kind, flagged in ((WHITE, 0.9), (FLAT, 1.0))
    ]
    assert [g.verdict for g in gates.novelty_gates(rows)] == [gates.FAIL, gates.PASS]
    assert [g.verdict for g in gates.novelty_gates([])] == [gates.NOT_MEASURED] * 2


def test_tables_line_up() -> None:
    lines = table(("set", "value"), [("a|b", "1"), ("long name", "12.5")]).splitlines()
    assert lines[1] == "| --------- | ----: |" and len({len(line) for line in lines}) == 1


def test_report_folder(toy: Path, folder: Path, tmp_path: Path) -> None:
    settings = TokenizerEvaluation(samples=(toy,), parts=("fidelity", "robustness"), limit=20)
    for _ in range(2):  # an earlier report is replaced
        report = evaluate_tokenizer_folder(folder, settings, tmp_path / "out")
    (facts,) = report.sets
    assert (facts.n_windows, facts.n_available, facts.trained) == (20, 24, False)
    assert report.bits_in_use == 64 and report.in_use[0].codes[-1].name == "level 2"
    assert report.levels[0].n_tokens == 20 * 8 and 0 < report.entropy_bits["toy"] <= report.bits_per_second == 96
    content, text = read_json(tmp_path / "out" / "report.json"), (tmp_path / "out" / "report.md").read_text()
    assert content["gates"][0]["name"] == CORRELATION and content["retention"] == []
    assert (
        "**not in training**" in text and "## Robustness" in text and "## Retention" not in text and "nan" not in text
    )
    drawn = {p.name for p in (tmp_path / "out" / "figures").iterdir()}
    assert drawn == {"bands.png", "codes.png", "waveforms-toy.png"} and all(f"figures/{name}" in text for name in drawn)


def test_the_command_prints_gates_and_keeps_what_is_no_report(
    toy: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["tokenizer", "--tokenizer", str(folder), "--samples", str(toy), "--parts", "fidelity", "--limit", "12"]
    command.main([*given, "--out", str(tmp_path / "out")])
    shown = capsys.readouterr().out
    assert "| correlation " in shown and "FAIL" in shown and shown.rstrip().endswith("report.md")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text").write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        command.main([*given, "--out", str(tmp_path / "thesis")])
    assert "not a report" in capsys.readouterr().err and (tmp_path / "thesis" / "text").read_text() == "mine"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"samples": ()}, "no folder"),
        ({"split": "train"}, "validation or test"),
        ({"parts": ("smell",)}, "'smell' is not measured"),
        ({"limit": 3}, "at least 10"),
    ],
)
def test_bad_settings_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TokenizerEvaluation(**{"samples": (Path("toy"),)} | given)  # type: ignore[arg-type]


def test_one_set_twice_is_refused(toy: Path, folder: Path, tmp_path: Path) -> None:
    settings = TokenizerEvaluation(samples=(toy, toy), parts=("fidelity",), limit=20)
    with pytest.raises(ConfigError, match="'toy'"):
        evaluate_tokenizer_folder(folder, settings, tmp_path / "out")


def test_training_json_tells_the_sets(folder: Path, tmp_path: Path) -> None:
    assert trained_sets(folder) == {"other"}
    assert trained_sets(tmp_path) is None
