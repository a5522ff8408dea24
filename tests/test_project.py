"""The project's own files agree with one another."""

import ast
import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_requirements_for_plain_pip_are_the_dependencies_without_taming() -> None:
    listed = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert listed == [name for name in PROJECT["project"]["dependencies"] if not name.startswith("taming")]


def test_nothing_that_breaks_a_cpu_build_of_torch_is_asked_for() -> None:
    asked = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["dev"]]
    names = {re.split(r"[<>=!~ \[]", name)[0] for name in asked}
    assert not names & {
        "torchvision",
        "torchaudio",
        "pytorch-lightning",
        "lightning",
        "timm",
        "lpips",
        "torch-fidelity",
    }
    assert all("never" in override for override in PROJECT["tool"]["uv"]["override-dependencies"])


def test_the_readme_lists_every_folder_and_script() -> None:
    readme = (ROOT / "README.md").read_text()
    folders = [p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".") and any(p.rglob("*.py"))]
    generated = {"runs", "outputs", "build", "dist"}
    scripts = [p.name for p in ROOT.glob("*.py")]
    missing = [
        name
        for name in [*folders, *scripts]
        if f"`{name}" not in readme and name not in generated | {"tests", "benchmarks"}
    ]
    assert not missing


def test_presets_are_named_in_their_own_command_line() -> None:
    for path in (ROOT / "configs").glob("*.yaml"):
        text = path.read_text()
        assert isinstance(yaml.safe_load(text), dict), path.name
        assert f"configs/{path.name}" in text.split("\n\n")[0], f"{path.name} does not show its command"


def test_no_lock_file_and_no_pickle_is_tracked() -> None:
    for pattern in ("*.lock", "**/*.pkl", "**/*.pickle", "**/*.pth", "**/*.pt", "**/*.ckpt"):
        hits = [p for p in ROOT.glob(pattern) if not {".venv", "runs", "outputs"} & set(p.relative_to(ROOT).parts)]
        assert not [p for p in hits if p.name != "uv.lock"]  # ignored by git


NOT_PRODUCT = {"tests", "typings", "runs", "outputs", "build", "dist"}
# what can run code that a file or a text brings along -> the files that may hold it, and why
DANGEROUS = {
    r"pickle\.(load|loads|Unpickler)|from pickle import .*": {"common/unpickle.py"},  # admits arrays and plain values
    r"torch\.load": {"common/unpickle.py"},  # with weights_only=True
    r"(import|from) (dill|cloudpickle|joblib|shelve|marshal)\b.*": set(),
    r"allow_pickle=(?!False$).*|weights_only=(?!True$).*": set(),
    r".*\.read_pickle": set(),
    r"yaml\.(unsafe_|full_)?load(_all)?": {"data_pipeline/recipe.py"},  # with `_Loader`, which is a SafeLoader
    r"eval|exec|__import__|compile": set(),  # `network.eval` is torch's
    r"os\.(system|popen)|subprocess\.getoutput|shell=True": set(),
}


def said(path: Path) -> set[str]:
    """What a source imports, calls, derives from, and says in keywords: `torch.load`, `weights_only=True` ..."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Attribute):
            found.add(ast.unparse(node))
        elif isinstance(node, ast.Call):
            found |= {ast.unparse(node.func), *(f"{word.arg}={ast.unparse(word.value)}" for word in node.keywords)}
    return found


def test_nothing_in_the_product_runs_what_a_file_says() -> None:
    tops = {path: path.relative_to(ROOT).parts[0] for path in ROOT.rglob("*.py")}
    sources = {
        str(path.relative_to(ROOT)): said(path)
        for path, top in tops.items()
        if not top.startswith(".") and top not in NOT_PRODUCT
    }
    assert len(sources) > 150
    for pattern, may in DANGEROUS.items():
        found = {name for name, words in sources.items() if any(re.fullmatch(pattern, word) for word in words)}
        assert found <= may, f"{pattern} in {sorted(found - may)}; read pickles through common/unpickle.py"
        assert may <= found, f"{pattern} is no longer in {sorted(may - found)}: take it off the list"
    assert "weights_only=True" in sources["common/unpickle.py"]
    recipe = (ROOT / "data_pipeline" / "recipe.py").read_text()
    assert recipe.count("yaml.load(") == recipe.count("yaml.load(content, _Loader)") == 1
    assert "class _Loader(yaml.SafeLoader)" in recipe
