"""The tokenizer report on a small set: gates that tell good from bad, a folder to read, and a command that refuses."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import neuroleon.evaluate as command
from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.files import read_json, write_json
from neuroleon.common.learned import Learned
from neuroleon.data_pipeline.shards import shard_path, write_manifest, write_shard
from neuroleon.evaluation.eeg import contest, gates
from neuroleon.evaluation.eeg.fidelity import BANDS, CORRELATION, NMSE
from neuroleon.evaluation.eeg.novelty import FLAT, WHITE, Novelty
from neuroleon.evaluation.eeg.page import table
from neuroleon.evaluation.eeg.retention import (
    CODES,
    FIRST,
    LATENTS,
    MEANING,
    RAW,
    RESTORED,
    identities,
    ratio_ci,
    retention,
)
from neuroleon.evaluation.eeg.robustness import Robustness
from neuroleon.evaluation.eeg.runner import TokenizerEvaluation, evaluate_tokenizer_folder, trained_sets
from neuroleon.evaluation.eeg.sets import MeasuredSet
from neuroleon.evaluation.ledger import FILE, USES
from neuroleon.evaluation.stats import Estimate
from neuroleon.evaluation.tokenizers import CodeUse, Fidelity
from neuroleon.evaluation.trials import Trial
from neuroleon.signals.montage import electrode_positions, electrodes
from neuroleon.signals.preprocess import Preprocess
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.network import EEGNetwork
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer

NAMES = ("O1", "O2", "Oz", "Pz", "Cz", "Fz")
LABELS = ("early", "late")
CONFIG = EEGTokenizerConfig(
    sources=4, dim=32, heads=2, encoder_layers=1, decoder_layers=1, levels=3, codes=16, code_dim=8, semantic_dim=4
)
SPLIT_OF = ("train", "train", "train", "train", "validation", "test")


def trial(rng: np.random.Generator, label: int) -> np.ndarray:
    """A response, early or late in the window, at the back of the head, in noise; average-referenced, scale 1."""
    seconds = np.arange(200) / 200
    response = 4 * np.exp(-((seconds - (0.25, 0.65)[label]) ** 2) / 0.005)
    eeg = rng.standard_normal((len(NAMES), 200)) + np.outer([1, 1, 1, 0.5, 0, -1], response)
    return eeg - eeg.mean(axis=0)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six recordings, three of each subject, with 12 trials each; split by recording."""
    folder, rng = tmp_path_factory.mktemp("sets") / "toy", np.random.default_rng(0)
    records: dict[str, list[dict[str, object]]] = {"train": [], "validation": [], "test": []}
    for recording, split in enumerate(SPLIT_OF):
        for i in range(12):
            meta = {
                "recipe": "toy", "subject": f"s{recording % 2}", "recording": f"r{recording}", "group": "",
                "split": split, "ch_names": NAMES, "positions": electrode_positions(NAMES).tolist(),
                "sfreq": 200.0, "scale_uV": 10.0,
                "label": LABELS[i % 2], "texts": ["A flash."], "label_text": LABELS[i % 2], "question": "When?",
                "image_key": None, "onset_s": 5.0 * i, "stimulus": [0.0] * 200,
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
        Novelty(recipe="a", kind=kind, n_windows=9, mean_z=5.0, flagged=flagged, shipped=None)
        for kind, flagged in ((WHITE, 0.9), (FLAT, 1.0))
    ]
    assert [g.verdict for g in gates.novelty_gates(rows)] == [gates.FAIL, gates.PASS]
    assert [g.verdict for g in gates.novelty_gates([])] == [gates.NOT_MEASURED] * 2


def test_tables_line_up() -> None:
    lines = table(("set", "value"), [("a|b", "1"), ("long name", "12.5")]).splitlines()
    assert lines[1] == "| --------- | ----: |" and len({len(line) for line in lines}) == 1


def n_uses(folder: Path) -> int:
    """How often the test split was used, as the ledger beside a tokenizer says."""
    ledger = folder.parent / FILE
    return len(ledger.read_text().splitlines()) if ledger.exists() else 0


def test_report_folder(toy: Path, folder: Path, tmp_path: Path) -> None:
    settings = TokenizerEvaluation(samples=(toy,), parts=("fidelity", "robustness"), limit=10)
    n_before = n_uses(folder)
    evaluate_tokenizer_folder(folder, replace(settings, parts=()), tmp_path / "out")
    report = evaluate_tokenizer_folder(folder, settings, tmp_path / "out")  # the earlier report is replaced
    assert report.facts[USES] == f"toy: {n_before + 1} of this one, {n_before + 1} of any"
    evaluate_tokenizer_folder(folder, replace(settings, parts=(), split="validation"), tmp_path / "other")
    assert n_uses(folder) == n_before + 2
    (facts,) = report.sets
    assert (facts.n_windows, facts.n_available, facts.trained) == (10, 12, False)
    assert report.bits_in_use == 64 and report.in_use[0].codes[-1].name == "level 2"
    assert report.levels[0].n_tokens == 10 * 8 and 0 < report.entropy_bits["toy"] <= report.bits_per_second == 96
    content, text = read_json(tmp_path / "out" / "report.json"), (tmp_path / "out" / "report.md").read_text()
    assert content["gates"][0]["name"] == CORRELATION and content["retention"] == []
    assert (
        "**not in training**" in text and "## Robustness" in text and "## Retention" not in text and "nan" not in text
    )
    drawn = {p.name for p in (tmp_path / "out" / "figures").iterdir()}
    assert drawn == {"bands.png", "codes.png", "waveforms-toy.png"} and all(f"figures/{name}" in text for name in drawn)


def test_recordings_that_the_tokenizer_learned_from_are_refused(toy: Path, folder: Path, tmp_path: Path) -> None:
    settings = TokenizerEvaluation(samples=(toy,), parts=(), limit=10)
    (facts,) = evaluate_tokenizer_folder(folder, settings, tmp_path / "unknown").sets
    said = "Whether the tokenizer learned from recordings of this split was not checked"
    assert said in facts.known and said in (tmp_path / "unknown" / "report.md").read_text()
    n_before, told = n_uses(folder), shutil.copytree(folder, folder.parent / "told")
    by_split = {
        split: [f"s{i % 2}/r{i}" for i, of in enumerate(SPLIT_OF) if of == split] for split in ("train", "test")
    }
    for learned, leaks in ((by_split["train"], False), (by_split["train"] + by_split["test"][:1], True)):
        Learned(train={"toy": frozenset(learned)}, complete=True).write(told)
        if leaks:
            with pytest.raises(DataError, match=f"the tokenizer learned from 1 of .*{by_split['test'][0]}"):
                evaluate_tokenizer_folder(told, settings, tmp_path / "leak")
        else:
            (facts,) = evaluate_tokenizer_folder(told, settings, tmp_path / "sound").sets
            assert (
                facts.known == f"The tokenizer learned from {len(learned)} recordings of this set, and from none of "
                "this split."
            )
    assert n_uses(folder) == n_before + 1 and not (tmp_path / "leak").exists(), "no use of the test split"


def test_the_command_prints_gates_and_keeps_what_is_no_report(
    toy: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["tokenizer", "--tokenizer", str(folder), "--samples", str(toy), "--parts", "fidelity", "--limit", "10"]
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
    settings = TokenizerEvaluation(samples=(toy, toy), parts=("fidelity",), limit=10)
    with pytest.raises(ConfigError, match="'toy'"):
        evaluate_tokenizer_folder(folder, settings, tmp_path / "out")


def test_training_json_tells_the_sets(folder: Path, tmp_path: Path) -> None:
    assert trained_sets(folder) == {"other"}
    assert trained_sets(tmp_path) is None


class Halved:
    """A codec that gives back half of the signal."""

    name, bits_per_second = "halved", 10.0

    @classmethod
    def fit(cls, windows: Sequence[Window], bits_per_second: float, seed: int, band_hz: object = None) -> "Halved":
        return cls()

    def restore(self, windows: Sequence[Window]) -> list[np.ndarray]:
        return [window.eeg_uV / 2 for window in windows]


def refuse(windows: Sequence[Window], bits_per_second: float, seed: int) -> Halved:
    raise DataError("no montage that it knows")


@pytest.fixture(scope="module")
def measured(toy: Path, folder: Path) -> MeasuredSet:
    return MeasuredSet(EEGTokenizer.load(folder), toy, "test", None, 0)


def test_retention_compares_each_stage_with_the_raw_signal(measured: MeasuredSet) -> None:
    found = retention(measured, levels_in_use=2, seed=0)
    assert list(found.scores) == [RAW, RESTORED, LATENTS, CODES, "codes, 2 levels", FIRST, MEANING]
    assert (found.n_train, found.n_test, found.chance) == (48, 12, 0.5)
    assert found.scores[RAW].mean > 0.9, "the response is far above the noise"
    assert found.ratios[LATENTS].mean == pytest.approx(found.scores[LATENTS].mean / found.scores[RAW].mean)
    above = (found.scores[CODES].mean - 0.5) / (found.scores[RAW].mean - 0.5)
    assert found.above_chance[CODES].mean == pytest.approx(above)


def test_a_raw_signal_at_chance_has_no_ratio(measured: MeasuredSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every probe of noise is at chance, and the ratio of two chances is 1."""
    labels = np.random.default_rng(0).permutation(np.repeat(LABELS, 6))
    original = measured.labelled

    def relabelled(split: str, signals: Sequence[np.ndarray] | None = None) -> list[Trial]:
        trials = original(split, signals)
        wrong = np.resize(labels, len(trials))
        return [replace(t, meta=t.meta | {"label": str(x)}) for t, x in zip(trials, wrong, strict=True)]

    monkeypatch.setattr(measured, "labelled", relabelled)
    found = retention(measured, levels_in_use=3, seed=0)
    assert abs(found.scores[RAW].mean - 0.5) < 0.35 and found.ratios == {} == found.above_chance
    verdicts = [g.verdict for g in gates.retention_gates([found])]
    assert set(verdicts) == {gates.NOT_MEASURED}


def test_ratio_golden() -> None:
    first, second = np.array([1.0, 0.0, 1.0, 0.0] * 5), np.ones(20)
    found = ratio_ci(first, second, np.arange(20), seed=0)
    assert found.mean == 0.5 and 0.25 <= found.low < 0.5 < found.high <= 0.75
    same = ratio_ci(first, first, np.arange(20), seed=0)
    assert (same.mean, same.low, same.high) == (1.0, 1.0, 1.0), "paired: what is right together stays together"


def test_simpler_codecs_are_measured_on_the_same_windows(
    measured: MeasuredSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contest, "CODECS", {"halved": Halved.fit, "picky": refuse})
    (ours, halved), left_out = contest.contest(measured, seed=0)
    assert (ours.codec, ours.bits_per_second, halved.bits_per_second) == ("ours", 96, 10)
    assert halved.correlation.mean == pytest.approx(1.0) and halved.nmse.mean == pytest.approx(0.25)
    assert halved.lsd.mean == pytest.approx(20 * np.log10(2)) and halved.accuracy is not None
    assert halved.accuracy.mean > 0.9 and left_out == ["side by side, toy, picky: no montage that it knows"]


def test_the_curve_has_the_rates_of_both(measured: MeasuredSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "PlainCodec", Halved)
    monkeypatch.setattr(contest, "OUR_BITS", (32, 96, 1280))
    found = contest.curve(measured, seed=0)
    assert [(p.codec, p.bits_per_second) for p in found.points] == [("ours", 32), ("ours", 96)] + [("halved", 10)] * 10
    assert found.probe == "templates" and found.points[-1].accuracy == found.raw, "a scale does not hide a template"


def test_identity_is_asked_where_it_can_be(measured: MeasuredSet) -> None:
    (subject,), left_out = identities([measured], seed=0)
    assert (subject.of, subject.recipe, subject.chance) == ("subject", "toy", 0.5) and subject.accuracy.mean < 0.95
    assert len(left_out) == 1 and left_out[0].startswith("data set, all: ")


def test_shards_of_another_front_end_are_refused(toy: Path, folder: Path) -> None:
    tokenizer = EEGTokenizer.load(folder)
    tokenizer.preprocess = replace(tokenizer.preprocess, low_hz=1.0)
    with pytest.raises(ConfigError, match="prepare it again"):
        MeasuredSet(tokenizer, toy, "test", None, 0)
