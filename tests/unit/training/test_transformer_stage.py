"""The transformer's stages on a small data set with a planted code: the frequency of a window says what was seen."""

import json
import shutil
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_documents import write_documents

from neuroleon import sample as sample_cli
from neuroleon import train as cli
from neuroleon.common.errors import ConfigError
from neuroleon.common.files import MANIFEST, read_json, sha256_file, verify_folder, write_json
from neuroleon.common.learned import FILE, Learned
from neuroleon.data_pipeline import remote
from neuroleon.decoding.pipeline import NeuroleonPipeline
from neuroleon.model.config import ModelConfig
from neuroleon.retrieval.memory import Retrieval
from neuroleon.training.config import LoopConfig, RunConfig
from neuroleon.training.loop import Trainer
from neuroleon.training.optim import OptimConfig
from neuroleon.training.schedule import ScheduleConfig
from neuroleon.training.stages.transformer import (
    DocumentsConfig,
    FinetuneConfig,
    FinetuneStage,
    PretrainConfig,
    PretrainStage,
)

SIZES = ModelConfig(dim=32, depth=1, heads=2, kv_heads=1, dim_head=16, max_length=256)


@pytest.fixture(scope="module")
def data(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> DocumentsConfig:
    return write_documents(tmp_path_factory.mktemp("shapes"), model_folder)


def run(steps: int) -> RunConfig:
    return RunConfig(
        loop=LoopConfig(steps=steps, validate_every=steps, save_every=steps),
        optim=OptimConfig(lr=5e-3),
        schedule=ScheduleConfig(warmup=5),
    )


@pytest.fixture(scope="module")
def pretrained(data: DocumentsConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrain")
    stage = PretrainStage(PretrainConfig(data=data, model=SIZES), seed=0)
    assert Trainer(stage, run(60), out, settings={"stage": "pretrain"}).run(out / "final") == out / "final"
    return out


def test_the_untrained_model_knows_nothing_and_the_trained_one_answers_from_the_eeg(
    data: DocumentsConfig, pretrained: Path
) -> None:
    stage = PretrainStage(PretrainConfig(data=data, model=SIZES), seed=0)
    torch.manual_seed(0)
    with torch.no_grad():
        fresh = stage.validate(stage.build().eval())
    trained = read_json(pretrained / "final" / "training.json")["progress"]["best_score"]
    assert fresh["score"] == pytest.approx(np.log(stage.vocabulary.size), rel=0.2)
    assert trained < fresh["score"] / 3
    assert {"score", "loss", "text", "image", "eeg"} == fresh.keys()


def test_validation_is_clean_fixed_and_exact(data: DocumentsConfig) -> None:
    module = PretrainStage(PretrainConfig(data=data, model=SIZES), seed=0).build().eval()
    with torch.no_grad():
        first = PretrainStage(PretrainConfig(data=data, model=SIZES), seed=0).validate(module)
        other_seed = PretrainStage(PretrainConfig(data=data, model=SIZES), seed=9).validate(module)
        rows = replace(data, length=160)
        other_rows = PretrainStage(PretrainConfig(data=rows, model=SIZES), seed=0).validate(module)
    assert other_seed == first
    assert other_rows == pytest.approx(first, rel=1e-5), "how documents fall into rows does not matter"


def test_data_in_a_bucket_are_the_same_data(data: DocumentsConfig, tmp_path: Path, monkeypatch) -> None:
    class Bucket:
        def get_file(self, url: str, target: str, callback: object) -> None:
            Path(target).write_bytes((data.samples[0].parent.parent / url.removeprefix("s3://eeg/")).read_bytes())

    monkeypatch.setattr(remote, "_filesystem", lambda url: Bucket())
    monkeypatch.setenv("NEUROLEON_CACHE", str(tmp_path / "cache"))
    there = replace(data, tokens=("s3://eeg/tokens/shapes",), samples=("s3://eeg/samples/shapes",))
    far, near = (PretrainStage(PretrainConfig(data=where, model=SIZES), seed=0) for where in (there, data))
    assert far.fingerprint == near.fingerprint
    assert all(torch.equal(far.batch(3)[name], near.batch(3)[name]) for name in near.batch(3))
    module = near.build().eval()
    with torch.no_grad():
        assert far.validate(module) == near.validate(module)
        far.export(module, tmp_path / "model")
        near.export(module, tmp_path / "same")
    labels, same = ({p.name: p.read_bytes() for p in (tmp_path / m).glob("labels*")} for m in ("model", "same"))
    assert labels == same != {}


def test_the_exported_folder_is_a_whole_model(pretrained: Path) -> None:
    final = pretrained / "final"
    verify_folder(final)
    pipeline = NeuroleonPipeline.load(final)
    assert {name: label.wordings for name, label in pipeline.labels["shapes"].labels.items()} == {
        "circle": ("a circle was shown",),
        "square": ("a square was shown",),
    }
    assert (pipeline.labels["shapes"].tmin_s, pipeline.labels["shapes"].duration_s) == (0.25, 1.0)
    card = (final / "README.md").read_text()
    for fact in ("Two shapes", "CC0-1.0", "eeg2image", "score", "How it was trained", "of 60"):
        assert fact in card


def test_examples_show_pictures_and_sentences(data: DocumentsConfig) -> None:
    stage = PretrainStage(PretrainConfig(data=data, model=SIZES), seed=0)
    shown = stage.examples(stage.build().eval())
    assert {name.split("/")[0] for name in shown.pictures} == {"eeg2image", "text2image"}
    assert {picture.shape for picture in shown.pictures.values()} == {(16, 32, 3)}
    assert {name.split("/")[0] for name in shown.sentences} == {"eeg2text", "eeg2label", "image2text"}


def test_finetune_starts_from_the_run_and_counts_only_answers(
    data: DocumentsConfig, pretrained: Path, tmp_path: Path
) -> None:
    stage = FinetuneStage(FinetuneConfig(data=data, init=pretrained, export_float16=True), seed=0)
    module = stage.build()
    with torch.no_grad():
        score = stage.validate(module.eval())["score"]
    assert score == pytest.approx(read_json(pretrained / "final" / "training.json")["progress"]["best_score"], rel=1e-4)
    batch = stage.batch(0)
    everything = PretrainStage(PretrainConfig(data=data, model=SIZES), seed=0).batch(0)
    assert torch.equal(batch["ids"], everything["ids"])
    assert 0 < (batch["weights"] > 0).sum() < (everything["weights"] > 0).sum()
    final = Trainer(stage, run(2), tmp_path, settings={}).run(tmp_path / "final")
    assert final is not None
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (final, pretrained / "final")]
    assert sizes[0] < 0.6 * sizes[1], "half precision"
    NeuroleonPipeline.load(final)


def test_a_model_names_the_recordings_it_knows_and_those_of_the_model_before_it(
    data: DocumentsConfig, pretrained: Path, tmp_path: Path
) -> None:
    shapes = Learned(
        train={"shapes": frozenset({"s1/r0", "s1/r1"})}, validation={"shapes": frozenset({"s1/r2"})}, complete=True
    )
    assert Learned.read(pretrained / "final") == shapes
    other = Learned(train={"other": frozenset({"s9/r9"})}, complete=True)
    for name, before, expected in (
        ("of another set", other, shapes | other),
        ("that does not say", None, replace(shapes, complete=False)),
    ):
        init = shutil.copytree(pretrained / "final", tmp_path / name)
        (init / FILE).unlink()
        if before:
            before.write(init)
        listed = [file for file in read_json(init / MANIFEST) if (init / file).is_file()]
        write_json(init / MANIFEST, {file: sha256_file(init / file) for file in listed})
        assert exported(FinetuneStage(FinetuneConfig(data=data, init=init), 0), tmp_path / f"from {name}") == expected
    assert data.counts("shapes") and replace(data, recipes={"shapes": 0.5}).counts("shapes")
    assert not replace(data, recipes={"else": 1.0}).counts("shapes"), "nothing is learned of it"


def exported(stage: FinetuneStage, folder: Path) -> Learned:
    folder.mkdir()
    with torch.no_grad():
        stage.export(stage.build().eval(), folder)
    return Learned.read(folder)


def test_what_does_not_belong_together_is_refused(data: DocumentsConfig) -> None:
    with pytest.raises(ConfigError, match="every set"):
        replace(data, samples=())
    with pytest.raises(ConfigError, match=r"the model holds 256"):
        PretrainConfig(data=replace(data, length=512), model=SIZES)
    with pytest.raises(ConfigError, match="leave one of them out"):
        PretrainConfig(data=data, preset="nano", model=SIZES)
    assert PretrainConfig(data=data, preset="nano", model=ModelConfig(dropout=0.1)).sizes.dropout == 0.1


def test_a_model_trained_with_a_memory_is_asked_with_one(
    data: DocumentsConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_memory = replace(data, retrieval=Retrieval(documents=2))
    stage, plain = (PretrainStage(PretrainConfig(data=d, model=SIZES), seed=0) for d in (with_memory, data))
    lengths = [int((s.batch(0)["documents"] > 0).sum()) for s in (stage, plain)]
    assert lengths[0] > 1.2 * lengths[1]
    arguments = [f"--data.tokens=[{data.tokens[0]}]", f"--data.samples=[{data.samples[0]}]", "--loop.steps=1"]
    arguments += [f"--data.tokenizers={data.tokenizers}", "--data.length=256", "--data.retrieval.documents=2"]
    arguments += ["--model.dim=32", "--model.depth=1", "--model.heads=2", "--model.dim_head=16"]
    cli.main(["pretrain", *arguments, "--out", str(tmp_path)])
    final = tmp_path / "final"
    assert NeuroleonPipeline.load(final).retrieval == Retrieval(documents=2)
    asked = ["--task", "text2image", "--text", "a circle was shown", "--n", "1", "--memory", str(data.tokens[0])]
    sample_cli.main([*asked, "--model", str(final), "--out", str(tmp_path / "with")])
    said = capsys.readouterr().out
    assert "retrieved   shapes/" in said
    assert "trained without" not in said
    (answer,) = read_json(tmp_path / "with" / "sample.json")["answers"]
    (found,) = answer["retrieved"]
    assert found["likeness"] <= 0.9, "the sentence itself is left out: only the square is not too much alike"
    content = read_json(tmp_path / "with" / "sample.json")
    assert content["memory"] == [str(data.tokens[0])]
    assert content["retrieval"]["documents"] == 2
    for wrong in (["--retrieve", "0"], ["--task", "image"]):
        other = [word for word in asked if word not in ("--text", "a circle was shown")] if "image" in wrong else asked
        with pytest.raises(SystemExit):
            sample_cli.main([*other, *wrong, "--model", str(final), "--out", str(tmp_path / "wrong")])
        assert "leave --memory away" in capsys.readouterr().err


def test_pretrain_runs_from_the_command_line(data: DocumentsConfig, tmp_path: Path) -> None:
    arguments = [f"--data.tokens=[{data.tokens[0]}]", f"--data.samples=[{data.samples[0]}]"]
    arguments += [f"--data.tokenizers={data.tokenizers}", "--data.length=256", "--data.masking.probability=1.0"]
    arguments += ["--model.dim=32", "--model.depth=1", "--model.heads=2", "--model.dim_head=16"]
    cli.main(["pretrain", *arguments, "--loop.steps=1", "--out", str(tmp_path)])
    verify_folder(tmp_path / "final")
    assert read_json(tmp_path / "config.json")["data"]["masking"]["probability"] == 1.0


@pytest.mark.parametrize("setting", ["recompute", "compile", "shard"])
def test_how_blocks_are_computed_changes_no_loss(
    data: DocumentsConfig, tmp_path: Path, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one rank nothing is sharded. What is compiled is traced as it is for a GPU, and then run without the minutes
    that a C++ compiler takes for these blocks (`test_ranks.py` compiles small ones)."""
    monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(torch.nn.Module.compile, backend="aot_eager"))
    sizes = replace(SIZES, dropout=0.1) if setting != "compile" else SIZES  # compiled dropout draws other numbers

    def losses(name: str, **options: bool) -> list[float]:
        loop = replace(run(3).loop, log_every=1, **options)
        stage = PretrainStage(PretrainConfig(data=data, model=sizes), seed=0)
        Trainer(stage, replace(run(3), loop=loop), tmp_path / name, settings={}).run(tmp_path / name / "final")
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        return [line["loss"] for line in lines if line["kind"] == "train"]

    plain, other = losses("plain"), losses("other", **{setting: True})
    assert len(plain) == 3
    assert other == pytest.approx(plain, rel=1e-4 if setting == "compile" else 1e-7)


def test_the_speed_of_a_run_is_logged_with_its_share_of_the_peak(data: DocumentsConfig, tmp_path: Path) -> None:
    stage = PretrainStage(PretrainConfig(data=data, model=SIZES), seed=0)
    loop = replace(run(4).loop, log_every=2)
    Trainer(stage, replace(run(4), loop=loop), tmp_path, settings={}).run(tmp_path / "final")
    first, second = [json.loads(line) for line in (tmp_path / "speed.jsonl").read_text().splitlines()]
    assert (first["step"], second["step"]) == (2, 4)
    held = [stage.contents(stage.batch(i)) for i in (2, 3)]
    share = sum(one["flops"] for one in held) / sum(one["tokens"] for one in held)
    assert second["flops_per_s"] / second["tokens_per_s"] == pytest.approx(share)
    assert 0 < second["mfu"] < 1
    batch = stage.batch(2)
    assert held[0]["tokens"] == int((batch["documents"] > 0).sum())
