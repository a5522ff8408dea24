"""From a model folder to pictures, sentences and EEG."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from neuroleon.common.errors import CheckpointError, ConfigError, DataError
from neuroleon.decoding.pipeline import TEN_TWENTY, NeuroleonPipeline
from neuroleon.decoding.rerank import evidence_of
from neuroleon.decoding.sampling import Sampling
from neuroleon.signals.montage import electrode_positions
from neuroleon.signals.window import Window
from neuroleon.tokenizers.document import OUTPUT, Document, Span, parse, render
from neuroleon.tokenizers.infill import Hole
from neuroleon.tokenizers.tasks import TASKS

SHORT = Sampling(max_text=8)


@pytest.fixture(scope="module")
def pipeline(model_folder: Path) -> NeuroleonPipeline:
    return NeuroleonPipeline.load(model_folder)


def window(seconds: float = 1.0, names: tuple[str, ...] = ("Cz", "O1", "O2")) -> Window:
    eeg_uV = 10 * np.random.default_rng(0).standard_normal((len(names), round(200 * seconds))).astype(np.float32)
    return Window(eeg_uV, names, electrode_positions(names), 10.0)


def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("task", "inputs", "outputs"),
    [
        ("eeg2image", {"eeg": window()}, {"picture"}),
        ("eeg2text", {"eeg": window()}, {"text"}),
        ("eeg2both", {"eeg": window(0.5)}, {"text", "picture"}),
        ("eeg2label", {"eeg": window(), "question": "Circle or square?"}, {"text"}),
        ("text2image", {"text": "a circle"}, {"picture"}),
        ("image2text", {"image": picture()}, {"text"}),
        ("text2eeg", {"text": "a circle", "duration_s": 0.5}, {"eeg"}),
        ("image2eeg", {"image": picture(), "duration_s": 0.25}, {"eeg"}),
        ("eeg", {"duration_s": 0.25}, {"eeg"}),
        ("image", {}, {"picture"}),
        ("text", {}, {"text"}),
    ],
)
def test_every_task_gives_its_outputs(pipeline: NeuroleonPipeline, task: str, inputs: dict, outputs: set[str]) -> None:
    results = pipeline.run(task, n=2, settings=SHORT, seed=3, **inputs)
    assert len(results) == 2
    for result in results:
        assert {name for name in ("text", "picture", "eeg") if getattr(result, name) is not None} == outputs
        assert parse(result.ids, pipeline.vocabulary).task == task
        if result.picture is not None:
            assert (result.picture.shape, result.picture.dtype) == ((16, 16, 3), np.uint8)
        if result.eeg is not None:
            assert result.eeg.eeg_uV.shape == (19, round(200 * inputs["duration_s"]))
            assert result.eeg.ch_names == TEN_TWENTY


def test_more_answers_do_not_change_the_first(pipeline: NeuroleonPipeline) -> None:
    three = pipeline.run("eeg2image", eeg=window(), n=3, seed=5)
    one = pipeline.run("eeg2image", eeg=window(), n=1, seed=5)
    assert np.array_equal(one[0].ids, three[0].ids)
    assert not np.array_equal(three[0].ids, three[1].ids)
    assert not np.array_equal(pipeline.run("eeg2image", eeg=window(), seed=6)[0].ids, one[0].ids)


@pytest.mark.parametrize("task", ["eeg2image", "eeg2both"])
def test_the_best_of_several_is_the_one_that_the_eeg_is_likeliest_after(model_folder: Path, task: str) -> None:
    pipeline = NeuroleonPipeline.load(model_folder)
    torch.manual_seed(0)
    with torch.no_grad():  # as it is made, it finds everything alike
        for parameter in pipeline.engine._model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    best = pipeline.run(task, eeg=window(), n=2, best_of=3, seed=5, settings=SHORT)
    every = pipeline.run(task, eeg=window(), n=6, seed=5, settings=SHORT)
    found = [evidence(pipeline, result.ids) for result in every]
    assert len(set(found)) > 3
    for i, result in enumerate(best):
        k = 3 * i + int(np.argmax(found[3 * i : 3 * i + 3]))
        assert np.array_equal(result.ids, every[k].ids)
        assert result.evidence == pytest.approx(found[k], abs=1e-3)


def test_evidence_is_of_each_documents_own_eeg(model_folder: Path) -> None:
    pipeline = NeuroleonPipeline.load(model_folder)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in pipeline.engine._model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    text, instruction = (np.array(pipeline.text.encode([words])[0]) for words in ("a circle was shown", "Say it."))
    made = []
    for names in (("Cz", "O1", "O2"), ("Fp1", "F7", "T8")):
        tokens = pipeline.eeg.encode_windows([window(names=names)])[0]
        spans = (Span("eeg", tokens.ids, tokens.scale), Span("text", text))
        made.append(render(Document("eeg2text", instruction, spans), pipeline.vocabulary).ids)
    both = evidence_of(made, pipeline.engine, pipeline.vocabulary, pipeline.text)
    assert both == [evidence_of([ids], pipeline.engine, pipeline.vocabulary, pipeline.text)[0] for ids in made]
    assert both[0] != both[1]


def evidence(pipeline: NeuroleonPipeline, ids: np.ndarray) -> float:
    """Nats of the EEG after each output, from documents written out and read by the plain forward."""
    eeg, *outputs = parse(ids, pipeline.vocabulary).spans
    total = 0.0
    for output in outputs:
        task = f"{output.modality}2eeg"
        words = pipeline.text.encode([TASKS[task].instructions[0]])[0]
        rendered = render(Document(task, np.array(words), (output, eeg)), pipeline.vocabulary)
        row = torch.from_numpy(rendered.ids.astype(np.int64))[None]
        with torch.no_grad():
            nats = pipeline.engine._model(row)[0, :-1].double().log_softmax(-1).gather(1, row[0, 1:, None])[:, 0]
        total += float(nats[torch.from_numpy(rendered.part[1:] == OUTPUT)].sum())
    return total


def test_a_stretch_of_eeg_is_written_anew_between_what_stands(pipeline: NeuroleonPipeline) -> None:
    steps = pipeline.eeg.encode_windows([window()])[0]
    text = Span("text", np.array(pipeline.text.encode(["a circle was shown"])[0]))
    instruction = np.array(pipeline.text.encode([TASKS["text2eeg"].instructions[0]])[0])
    document = Document("text2eeg", instruction, (text, Span("eeg", steps.ids, steps.scale)))
    n = pipeline.vocabulary.eeg.tokens
    made = pipeline.infill(document, [Hole(span=1, start=2 * n, stop=5 * n)], n=3, seed=1)
    assert len({whole.spans[1].ids_local.tobytes() for whole in made}) == 3
    for whole in made:
        assert whole.spans[0] == text
        kept = np.r_[: 2 * n, 5 * n : 8 * n]
        assert whole.spans[1].ids_local[kept].tolist() == steps.ids[kept].tolist()


def test_the_montage_of_generated_eeg_is_chosen(pipeline: NeuroleonPipeline) -> None:
    result = pipeline.run("text2eeg", text="a", duration_s=0.125, montage=("Oz", "Fz"))[0]
    assert result.eeg is not None
    assert result.eeg.ch_names == ("Oz", "Fz")
    np.testing.assert_allclose(result.eeg.positions, electrode_positions(("Oz", "Fz")))
    with pytest.raises(DataError, match="Nowhere"):
        pipeline.run("text2eeg", text="a", duration_s=0.125, montage=("Oz", "Nowhere"))


def test_label_likelihoods_follow_the_scores(pipeline: NeuroleonPipeline) -> None:
    likelihoods = pipeline.label_likelihoods(window(), "shapes")
    assert list(likelihoods) == ["circle", "square"]
    assert sum(likelihoods.values()) == pytest.approx(1)
    assert pipeline.recipe_of("Circle or square?") == "shapes"
    assert pipeline.recipe_of("Left or right?") is None
    with pytest.raises(ConfigError, match="unheard_of"):
        pipeline.label_likelihoods(window(), "unheard_of")


def test_a_picture_is_named_by_the_nearest_picture_of_a_label(pipeline: NeuroleonPipeline) -> None:
    shapes = pipeline.labels["shapes"]
    assert shapes.nearest(np.full((16, 16, 3), 60, np.uint8)) == "circle"
    assert shapes.nearest(np.full((32, 32, 3), 200, np.uint8)) == "square"
    assert shapes.labels["circle"].wordings == ("a circle was shown",)


@pytest.mark.parametrize(
    ("task", "inputs", "message"),
    [
        ("eeg2smell", {}, "eeg2smell"),
        ("eeg2image", {}, "eeg is not given"),
        ("eeg2image", {"eeg": window(), "text": "a"}, "leave text away"),
        ("eeg2label", {"eeg": window()}, "question"),
        ("eeg2text", {"eeg": window(), "question": "what?"}, "no question"),
        ("text2image", {"text": ""}, "empty"),
        ("text2eeg", {"text": "a"}, "duration"),
        ("text2eeg", {"text": "a", "duration_s": 0.2}, "whole steps of 0.125"),
        ("eeg2image", {"eeg": window(), "duration_s": 1.0}, "makes no EEG"),
        ("image", {"n": 0}, "at least 1"),
        ("image", {"best_of": 2}, "eeg2image, eeg2text"),
        ("eeg2label", {"eeg": window(), "question": "Circle or square?", "best_of": 2}, "eeg2image, eeg2text"),
        ("eeg2text", {"eeg": window(), "best_of": 2, "settings": Sampling(temperature=0)}, "temperature 0"),
        ("eeg2image", {"eeg": window(), "best_of": 0}, "best of 1"),
    ],
)
def test_wrong_requests_are_named(pipeline: NeuroleonPipeline, task: str, inputs: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pipeline.run(task, **inputs)


def test_a_window_too_long_for_the_model_is_refused(pipeline: NeuroleonPipeline) -> None:
    with pytest.raises(DataError, match="holds 256"):
        pipeline.run("eeg2image", eeg=window(10.0))


def test_a_tokenizer_that_is_not_the_vocabularys_is_refused_with_both_hashes(
    make_model_folder: Callable[..., None], tmp_path: Path
) -> None:
    make_model_folder(tmp_path / "mixed", other_image_tokenizer=True)
    with pytest.raises(CheckpointError, match=r"image: fingerprint [0-9a-f]{12}.*made with [0-9a-f]{12}"):
        NeuroleonPipeline.load(tmp_path / "mixed")


def test_a_changed_byte_is_refused(model_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(model_folder, tmp_path / "changed")
    weights = tmp_path / "changed" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*sha256"):
        NeuroleonPipeline.load(tmp_path / "changed")


def test_a_hub_id_without_a_network_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        CheckpointError, match="nobody/nothing: no such folder, and not to be had from the hub"
    ) as error:
        NeuroleonPipeline.load("nobody/nothing")
    assert "\n" not in str(error.value)
    (tmp_path / "models").mkdir()
    with pytest.raises(CheckpointError, match="models/typo: no such folder"):  # no download for a path with a typo
        NeuroleonPipeline.load("models/typo")
