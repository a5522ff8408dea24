"""The report's page and JSON: all there is is shown, in order and escaped, and nothing that is absent is needed."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_report import CLUSTERS, KEYS, bare_set, comparison, label_task, report, scores, set_result

from neuroleon.common.errors import ConfigError
from neuroleon.common.files import read_json
from neuroleon.evaluation.page import Bullets, Folded, Heading, Picture, Table, as_markdown
from neuroleon.evaluation.page_html import as_html
from neuroleon.evaluation.record import as_record, as_text
from neuroleon.evaluation.report import write_report
from neuroleon.evaluation.results import Report
from neuroleon.evaluation.sections import page_of
from neuroleon.evaluation.stats import compare
from neuroleon.evaluation.words import best_floor, in_words, ordered


class Reader(HTMLParser):
    """Fails on a tag that is not closed, and keeps what could load or run something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "out"
    write_report(report(), out)
    write_report(report(), out)  # an earlier report is replaced
    return out


def test_the_folder_holds_the_page_twice_the_numbers_and_every_figure_it_names(folder: Path) -> None:
    assert {p.name for p in folder.iterdir()} == {
        "report.json", "report.md", "report.html", "manifest.json", "figures",
    }  # fmt: skip
    named = re.findall(r"\]\((figures/.+?)\)", (folder / "report.md").read_text())
    assert sorted(named) == sorted(f"figures/{p.name}" for p in (folder / "figures").iterdir())
    assert len(named) == len(set(named)) == 7


def test_html_is_one_file_that_loads_and_runs_nothing(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    page = Reader(text)
    assert "script" not in page.tags and "link" not in page.tags and "@import" not in text and "url(" not in text
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in page.sources)
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text
    anchors = [source[1:] for source in page.sources if source.startswith("#")]
    assert anchors and all(f'id="{anchor}"' in text for anchor in anchors)


def test_the_audit_stands_before_any_number_and_the_summary_before_the_sets(folder: Path) -> None:
    for name, mark in (("report.md", "## "), ("report.html", ">")):
        text = (folder / name).read_text()
        places = [text.index(f"{mark}{title}") for title in ("Audit", "Summary", "toy, split")]
        assert places == sorted(places) if mark == "## " else places[0] < places[1]
        assert places[0] < text.index("0.800")


def test_all_conditions_are_shown_known_ones_first(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    head = "| number | in words | real | shuffled | within class | noise | none | oracle | sham | chance |"
    assert head in text
    assert ordered(["sham", "ceiling", "real", "constant", "before"]) == [
        "real", "before", "constant", "ceiling", "sham",
    ]  # fmt: skip


def test_the_summary_has_verdict_control_and_baseline(folder: Path) -> None:
    row = next(line for line in (folder / "report.md").read_text().splitlines() if line.startswith("| toy | eeg2label"))
    assert "**above its controls**" in row and "| noise 0.150 | 0.050 | TRCA 0.900 |" in row
    left_out = next(
        line for line in (folder / "report.md").read_text().splitlines() if line.startswith("| toy | eeg2image")
    )
    assert "Left out: the set has no pictures." in left_out


def test_a_baseline_that_chose_among_fewer_is_not_put_beside_the_model() -> None:
    (known,) = set_result().baselines
    fewer, varying = (replace(known, comparison=replace(known.comparison, n_answers=n)) for n in (19, None))
    for baseline, said in ((known, "TRCA 0.900"), (fewer, "-"), (varying, "-")):
        page = as_markdown(page_of(report(baselines=(baseline,))))
        row = next(line for line in page.splitlines() if line.startswith("| toy | eeg2label"))
        assert row.split(" | ")[7] == said


def test_verdicts_in_words() -> None:
    assert in_words(comparison(16, noise=3)) == "**above its controls**"
    assert in_words(comparison(16, oracle=20, within_class=16)) == "**above its controls**"  # these know the answer
    assert in_words(comparison(16, noise=14)) == "above shuffled, not clearly above noise"
    assert in_words(replace(comparison(16), chance=0.7)) == "above shuffled, not clearly above chance"
    assert in_words(comparison(2)) == "no difference shown"
    assert in_words(replace(comparison(16), better="neither")) == "above shuffled"
    assert best_floor(comparison(16, noise=14, oracle=20)) == "noise"


def test_where_lower_is_better_below_is_good_news() -> None:
    """Word error rate, rank, FID: a model that is worse than every control must not be praised."""
    wrong = replace(comparison(16, noise=3), better="lower")
    assert in_words(wrong) == "above shuffled (worse)" and best_floor(wrong) == "shuffled"
    values = {"real": 1 - scores(16), "shuffled": 1 - scores(2), "noise": 1 - scores(3)}
    right = compare("errors", "errors per word", values, CLUSTERS, chance=0.95, seed=0, better="lower")
    assert in_words(right) == "**below its controls**"
    assert in_words(replace(right, chance=0.3)) == "below shuffled, not clearly below chance"
    assert in_words(replace(right, better="higher")) == "below shuffled (worse)"
    near = compare("errors", "", values | {"noise": 1 - scores(14)}, CLUSTERS, chance=None, seed=0, better="lower")
    assert in_words(near) == "below shuffled, not clearly below noise" and best_floor(near) == "noise"


def test_json_has_every_number_and_values_of_each_window(folder: Path) -> None:
    content = read_json(folder / "report.json")
    assert content["format"] == 2 and content["model"] == "toy"
    (found,) = content["sets"]
    task = found["tasks"][0]
    assert task["confusions"][0]["counts"]["real"][0] == [3, 1, 2, 0]
    assert task["reliability"]["error"] == {"real": 0.07, "shuffled": None}
    assert task["cost"] == {"seconds": 2.0, "n_ids": 300, "n_scored": 1200}
    assert list(found["trials"]) == KEYS
    assert task["values"] == {"accuracy, generated label": [1.0] * 32 + [0.0] * 8}
    assert found["baselines"][0]["comparison"]["conditions"]["real"]["mean"] == 0.9
    assert np.shape(found["attribution"]["positions"]) == (5, 3)
    assert found["tokenizers"][0]["measures"]["NMSE"]["mean"] == 0.5


def test_short_lines_of_json_change_nothing() -> None:
    record = as_record(report()) | {"odd": ["[\n1,\n2\n]", [], [1, [2.5, -3e-9]], [{"a": []}]]}
    text = as_text(record)
    assert json.loads(text) == record
    assert "[3, 1, 2, 0]" in text


def test_a_report_without_the_parts_that_may_be_absent(tmp_path: Path) -> None:
    write_report(Report(facts={}, sets=(bare_set(),)), tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "What the tokenizers keep" in text and "Cost" not in text and "Classical" not in text and "nan" not in text
    Reader((tmp_path / "out" / "report.html").read_text())


def test_what_comes_from_data_is_text_and_no_markup() -> None:
    hostile = '<script>alert("1")</script> a|b\nc'
    blocks = [Heading(1, hostile), Bullets([hostile]), Table([hostile], [[hostile]]), Folded(hostile, [])]
    page = as_html([*blocks, Picture("x", hostile, lambda path: None)], {"x": b""})
    assert "<script" not in page and page.count("&lt;script&gt;") == 8 and "&quot;1&quot;" in page
    text = as_markdown(blocks)
    assert "a\\|b c |" in text and "b\nc" not in text
    assert "<script" not in as_html(page_of(Report(facts={"model": hostile}, sets=())), {})


def test_many_answers_with_long_names_are_drawn(tmp_path: Path) -> None:
    answers = tuple(f"an answer of many words, number {k}" for k in range(45))
    for n in (40, 45):
        write_report(report(tasks=(label_task(answers=answers[:n]),)), tmp_path / str(n))
        assert (tmp_path / str(n) / "figures" / "toy-eeg2label-confusion-1.png").stat().st_size > 10_000


def test_a_confounded_set_is_named_in_bold_before_the_summary() -> None:
    found = set_result()
    audit = type(found.audit)(**vars(found.audit) | {"confounded": "confounded: every x", "sentences": ()})
    text = as_markdown(page_of(report(audit=audit)))
    assert text.index("**toy, confounded: every x**") < text.index("## Summary")


def test_a_folder_that_is_no_report_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not a report"):
        write_report(report(), tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
