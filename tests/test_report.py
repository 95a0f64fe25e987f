"""The report: one file, legible everywhere, whose numbers and sentences are those of the comparison.

pytest tests/test_report.py
"""

import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from worldwidth.report.conclusions import limits, told, untold
from worldwidth.report.format import MINUS, flops, number, p_value, times
from worldwidth.report.theme import colors, contrast, step_class

from fake_runs import fake_runs
from worldwidth.comparison.tables import Comparison, compare
from worldwidth.report.page import write_report
from worldwidth.report.sentences import answers, compute_text
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings

PROJECT = Path(__file__).parents[1]
VOID = {"meta", "br", "hr", "img", "link", "input"}
PROVENANCE: dict[str, Any] = {
    "worldwidth_commit": "0123abcd" * 5,
    "params": "arch: wide\n",
    "versions": {"Python": "3.11"},
    "machine": "two cores",
    "time": "2026-01-02T03:04:05+00:00",
    "experiments": [{"name": "wide-epochs-s1", "commit": "f" * 40}],
}


@dataclass
class Table:
    """A table of the page."""

    caption: str = ""
    heads: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    """Of its cells."""

    def row(self, label: str) -> list[str]:
        return next(row for row in self.rows if row and row[0] == label)


class Page(HTMLParser):
    """A page taken apart; tags that do not close, or close another, are an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.opened: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[Table] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.opened == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert len(found) == len(attrs), f"{tag} has an attribute twice"
        self.tags.append((tag, found))
        if tag not in VOID:
            self.opened.append(tag)
        if tag == "table":
            self.tables.append(Table())
        elif tag == "tr":
            self.tables[-1].rows.append([])
        elif tag in ("td", "th"):
            self.tables[-1].rows[-1].append("")
            self.tables[-1].classes.append(found.get("class") or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.opened:
            return
        self.words.append(data)
        if {"td", "th"} & set(self.opened):
            row = self.tables[-1].rows[-1]
            row[-1] = f"{row[-1]} {data.strip()}".strip()
        elif "caption" in self.opened:
            self.tables[-1].caption += data

    def table(self, caption: str) -> Table:
        return next(table for table in self.tables if table.caption == caption)

    def attributes(self, name: str) -> list[str]:
        return [str(found[name]) for _, found in self.tags if name in found]


def reach_of(row: Any) -> str:
    return f"[{number(row['low'])}, {number(row['high'])}]"


def page_of(comparison: Comparison, folder: Path, *, drawn: bool = False, **provenance: Any) -> Page:
    """Write the report and read it again; drawing its charts is what takes the time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in () if drawn else ("draw_scores", "draw_curves"):
            patch.setattr(f"worldwidth.report.page.{name}", lambda comparison: Figure())
        write_report(comparison, {**PROVENANCE, **provenance}, folder / "report" / "index.html", PROJECT)
    return Page((folder / "report" / "index.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def settings() -> Settings:
    """Three tasks, three models of one task and one of two."""
    finetunes = {"ftwb1-1": ("distance",), "ftwb1-4": ("compass",), "ftwb1-5": ("inside",)}
    pair = {"ftwb2-15": ("compass", "distance")}
    settings = replace(load(PROJECT / "params.yaml"), seed=1, budget="epochs")
    return replace(settings, tasks=("distance", "compass", "inside"), finetunes={**finetunes, **pair})


@pytest.fixture(scope="module")
def study(settings: Settings) -> Comparison:
    """Three widths and three seeds under one budget, two and two under another."""
    runs = fake_runs(settings, archs=("narrow", "base", "wide"))
    runs += fake_runs(settings, archs=("narrow", "wide"), seeds=(1, 2), budgets=("flops",))
    return compare(runs)


@pytest.fixture(scope="module")
def page(study: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return page_of(study, tmp_path_factory.mktemp("page"), drawn=True)


@pytest.fixture(scope="module")
def one_seed(settings: Settings) -> Comparison:
    return compare(fake_runs(settings, archs=("narrow", "base", "wide"), seeds=(7,)))


@pytest.fixture(scope="module")
def one_arch(settings: Settings) -> Comparison:
    return compare(fake_runs(settings, archs=("wide",), seeds=(1, 2)))


@pytest.fixture(scope="module")
def patchy(settings: Settings) -> Comparison:
    """Two widths: the wide one lacks a model, one run of the narrow one another and all measurable cells of a task."""
    runs = fake_runs(settings, archs=("narrow", "wide"), seeds=(1, 2))
    for i, run in enumerate(runs):
        lacking = "ftwb2-15" if run.arch == "wide" else "ftwb1-4" if run.seed == 1 else ""
        cells = {key: values for key, values in run.cells.items() if key[1] != lacking}
        if run.arch == "narrow":
            cells = {k: np.full_like(v, np.nan) if k[2] == "inside" else v for k, v in cells.items()}
        runs[i] = replace(run, cells=cells, missing=(lacking,) if lacking else ())
    return compare(runs)


# --- the file


def test_the_page_loads_nothing_and_has_no_script(page: Page) -> None:
    loading = {"script", "link", "img", "iframe", "object", "embed", "video", "audio", "source", "base"}
    assert not loading & {tag for tag, _ in page.tags}
    addresses = [value for name in ("src", "href", "xlink:href", "srcset", "data") for value in page.attributes(name)]
    ids = page.attributes("id")
    assert addresses
    assert {address[0] for address in addresses} == {"#"}
    assert {address[1:] for address in addresses} <= set(ids)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", page.html)) <= set(ids)
    assert not re.search(r"url\((?!#)|@import|@font-face|\bon[a-z]+=", page.html)
    assert len(page.html) < 1_500_000


def test_the_page_is_for_people_who_see_it_and_people_who_do_not(page: Page) -> None:
    assert page.html.startswith("<!DOCTYPE html>\n<html lang=")
    assert all(table.caption for table in page.tables)
    assert all(found.get("scope") for tag, found in page.tags if tag == "th")
    pictures = [found for tag, found in page.tags if tag == "svg"]
    assert len(pictures) == 2
    assert all(found["role"] == "img" and found["aria-label"] and found["viewbox"] for found in pictures)
    sections = [found["id"] for tag, found in page.tags if tag == "section"]
    assert sections == [address[1:] for address in page.attributes("href") if address[1:] in sections][: len(sections)]
    assert sections[0] == "question"
    assert sections[-2:] == ["conclusions", "provenance"]


def test_the_page_has_a_dark_and_a_printed_form(page: Page) -> None:
    assert page.html.count("@media screen and (prefers-color-scheme: dark)") == 2
    assert "@media print" in page.html
    drawings = page.html[page.html.index("<svg") :]
    assert not re.search("#1a1a1a|#555555", drawings)
    assert "fill: var(--ink)" in drawings
    assert "DejaVu" not in drawings
    assert "<style" not in drawings  # it would be that of the whole page


def test_the_same_comparison_gives_the_same_bytes(one_seed: Comparison, tmp_path: Path) -> None:
    assert page_of(one_seed, tmp_path / "a", drawn=True).html == page_of(one_seed, tmp_path / "b", drawn=True).html


def test_text_from_outside_stays_text(one_arch: Comparison, tmp_path: Path) -> None:
    hostile = "</pre><script>alert('x')</script>\"&"
    page = page_of(
        one_arch,
        tmp_path,
        params=hostile,
        machine=hostile,
        time=hostile,
        worldwidth_commit=hostile,
        versions={hostile: hostile},
        experiments=[{"name": hostile, "commit": hostile}],
    )
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count("<script>") == 7  # a version's name too; a commit is cut to its first characters
    assert hostile in "".join(page.words)


@pytest.mark.parametrize("is_dark", [False, True])
def test_every_cell_is_legible(is_dark: bool) -> None:
    steps = colors(is_dark)
    assert len(steps) == 42
    assert min(contrast(background, ink) for background, ink in steps.values()) >= 4.5


def test_values_beyond_the_scale_have_the_colour_of_its_end() -> None:
    assert [step_class(value, False) for value in (-3.0, 0.0, 0.5, 1.0, 9.0)] == ["s0", "s0", "s10", "s20", "s20"]
    assert [step_class(value, True) for value in (-3.0, -0.5, 0.0, 0.5, 9.0)] == ["d0", "d0", "d10", "d20", "d20"]


# --- numbers


def test_every_number_of_the_table_of_widths_is_on_the_page(study: Comparison, page: Page) -> None:
    for budget in study.budgets:
        table = page.table(f"Means over seeds under budget {budget}, with 95 % intervals")
        widths = study.widths[study.widths["budget"] == budget]
        for arch, rows in widths.groupby("arch"):
            label, seeds, *stats = table.row(str(arch))
            assert (label, seeds) == (arch, "3" if budget == "epochs" else "2")
            for stat, row in zip(stats, rows.to_dict("records"), strict=True):
                assert stat.startswith(f"{number(row['mean'])} [{number(row['low'])}, {number(row['high'])}] lines ±")
    labels = page.text.replace("(", "").replace(")", "")
    for metric in study.metrics.values():
        assert metric.label.replace(" - ", " \N{MINUS SIGN} ").replace(", ", " ") in labels
        assert metric.meaning in page.text


def test_every_trend_and_difference_has_its_p_and_verdict(study: Comparison, page: Page) -> None:
    table = page.table("Change per doubling of the hidden size, budget epochs")
    assert len(table.rows) == 1 + len(study.trends) == 12
    for row, trend in zip(table.rows[1:], study.trends.to_dict("records"), strict=True):
        told = {"▲": 1, "▼": -1}.get(row[-1][0], 0)
        assert row[1:4] == [number(trend["slope"], sign=True), reach_of(trend), "3"]
        assert row[4:6] == [p_value(trend["p"]), p_value(trend["p_holm"])]
        assert row[6].endswith(trend["verdict"])
        assert told == (trend["verdict"] == "wider higher")
    pairs = study.differences[
        (study.differences["metric"] == "ftwb1_trained") & (study.differences["budget"] == "epochs")
    ]
    table = page.table("FTWB1 trained")
    for pair in pairs.to_dict("records"):
        _, difference, reach, n, p, verdict = table.row(f"{pair['other']} \N{MINUS SIGN} {pair['arch']}")
        assert [difference, reach, n] == [number(pair["mean"], sign=True), reach_of(pair), "3"]
        assert p == p_value(pair["p_holm"])
        assert verdict.endswith(pair["verdict"])


def test_one_pair_of_widths_is_one_table(study: Comparison, page: Page) -> None:
    table = page.table("wide \N{MINUS SIGN} narrow")
    assert [row[0] for row in table.rows[1:3]] == ["FTWB1 trained", "FTWB1 transfer"]
    assert len(table.rows) == 1 + len(study.metrics)


def test_the_matrices_have_a_cell_for_every_model_and_task(study: Comparison, page: Page) -> None:
    epochs = study.cells[(study.cells["budget"] == "epochs") & (study.cells["matrix"] == "ftwb1")]
    table = page.table("narrow")  # the first: FTWB1 under the first budget
    assert table.rows[0][1:] == list(study.settings.tasks)
    for model, trained in study.settings.finetunes.items():
        if len(trained) == 1:
            row = table.row(trained[0])
            cells = epochs[(epochs["arch"] == "narrow") & (epochs["model"] == model)].set_index("task")
            for task, shown in zip(study.settings.tasks, row[1:], strict=True):
                expected = number(float(cells["mean"][task]), 2)
                assert shown == (f"{expected} T" if task == trained[0] else expected)
    change = page.table("FTWB2: wide \N{MINUS SIGN} narrow")
    assert re.fullmatch(r"[+−]?\d\.\d\d \[−?\d\.\d\d, −?\d\.\d\d\]( T)?", change.rows[1][1])  # noqa: RUF001
    assert {len(table.rows) for table in page.tables if table.caption == "narrow"} == {1 + 3, 1 + 1, 1 + 4}


def test_numbers_as_text() -> None:
    assert [number(x) for x in (-0.0004, -0.25, None, float("nan"))] == ["0.000", "\N{MINUS SIGN}0.250", "n.m.", "n.m."]
    assert [number(0.25, 2, sign=True), number(0.001, 2, sign=True)] == ["+0.25", "0.00"]
    assert [p_value(x) for x in (0.00001, 0.0437, None)] == ["< 0.001", "0.044", "\N{EN DASH}"]
    assert [flops(x) for x in (999.4, 8.656e12, 999.6e12)] == ["999 FLOP", "8.66 TFLOP", "1.00 PFLOP"]
    assert [times(x).rstrip("\N{MULTIPLICATION SIGN}") for x in (1.0, 1.956, 15.51, 1234.4)] == [
        "1",
        "1.96",
        "15.5",
        "1,234",
    ]


# --- what is not there


def test_one_seed_has_no_interval_and_no_verdict(one_seed: Comparison, tmp_path: Path) -> None:
    page = page_of(one_seed, tmp_path)
    stats = page.table("Means over seeds, with 95 % intervals").row("wide")[2:]
    assert all(re.fullmatch(r"\N{MINUS SIGN}?\d\.\d{3} lines ±0\.\d{3}", stat) for stat in stats)
    assert {row[-1] for row in page.table("FTWB1 trained").rows[1:]} == {"not enough seeds to tell (1)"}
    assert "At the published epochs , one seed cannot tell whether width matters" in page.text
    assert told(one_seed, "epochs") == []
    assert untold(one_seed, "epochs") == ["Every metric: any two widths."]


def test_one_width_is_not_compared(one_arch: Comparison, tmp_path: Path) -> None:
    page = page_of(one_arch, tmp_path)
    assert "there is one width (wide): nothing to compare yet." in page.text
    assert "No differences: there is one width." in page.text
    assert "No trend: it takes three widths" in page.text
    assert "The widest minus the narrowest" not in page.text
    assert [table.caption for table in page.tables].count("wide") == 4


def test_missing_models_and_cells_that_are_not_measurable_are_hatched(patchy: Comparison, tmp_path: Path) -> None:
    page = page_of(patchy, tmp_path)
    narrow, wide = (
        next(table for table in page.tables if table.caption == arch and len(table.rows) == rows)
        for arch, rows in (("narrow", 4), ("wide", 2))
    )
    column = 1 + patchy.settings.tasks.index("inside")
    assert {row[column].rstrip(" T") for row in narrow.rows[1:]} == {"n.m."}
    assert "compass missing in 1 of 2 runs" in [row[0] for row in narrow.rows]
    assert {cell[0] for cell in wide.row("compass + distance missing")[1:]} == {"\N{EN DASH}"}
    assert wide.classes.count("none") == 3
    stats = page.table("Means over seeds, with 95 % intervals").row("narrow")
    assert stats[2].endswith("1 of 3 cells")
    change = page.table("FTWB2: wide \N{MINUS SIGN} narrow")
    assert {cell[0] for cell in change.row("compass + distance wide: missing")[1:]} == {"\N{EN DASH}"}


def test_nothing_measurable_is_said(one_seed: Comparison, tmp_path: Path) -> None:
    empty = dict.fromkeys(("mean", "low", "high", "line_se"), np.nan)
    nothing = replace(
        one_seed,
        widths=one_seed.widths.assign(n=0, cells=0, **empty),
        cells=one_seed.cells.assign(n=0, **empty),
        differences=one_seed.differences.assign(n=0, verdict="not measurable", **empty),
        trends=one_seed.trends.assign(n=0, verdict="not measurable", slope=np.nan),
        runs=one_seed.runs.assign(**dict.fromkeys(one_seed.metrics, np.nan)),
    )
    page = page_of(nothing, tmp_path)
    assert "At the published epochs , nothing is measurable in any of the 6 measures" in page.text
    assert page.table("Means over seeds, with 95 % intervals").row("base")[2] == "n.m. 0 of 3 cells n = 0"


def test_widths_without_a_seed_in_common_are_not_compared(settings: Settings, tmp_path: Path) -> None:
    runs = fake_runs(settings, archs=("narrow",), seeds=(1,)) + fake_runs(settings, archs=("wide",), seeds=(2,))
    page = page_of(compare(runs), tmp_path)
    assert "narrow and wide have no seed in common: nothing can be compared pair by pair." in page.text
    assert "No differences: no two widths have a seed in common." in page.text


def test_the_experiments_are_listed(one_arch: Comparison, tmp_path: Path) -> None:
    known = page_of(one_arch, tmp_path).table("The experiments: dvc exp apply NAME brings one back")
    assert known.rows[1] == ["wide-epochs-s1", "ffffffffffff", "wide, epochs, seed 1", "12 of 12", ""]


# --- sentences


def with_verdicts(comparison: Comparison, n: int, verdicts: dict[str, str], default: str) -> Comparison:
    """The comparison under its first budget, with other verdicts on its trends, and no two widths told apart."""
    trends = comparison.trends.assign(
        verdict=[verdicts.get(metric, default) for metric in comparison.trends["metric"]],
        slope=[
            0.0421 if verdicts.get(metric, "").endswith("higher") else -0.031 for metric in comparison.trends["metric"]
        ],
        low=-0.07,
        high=0.05,
        n=n,
    )
    differences = comparison.differences.assign(verdict=FEW)
    return replace(comparison, trends=trends, differences=differences, budgets=("epochs",))


FEW, NONE = "not enough seeds to tell (3)", "no difference told"


@pytest.mark.parametrize(
    ("n", "verdicts", "default", "sentence"),
    [
        (3, {}, FEW, "3 seeds do not suffice to tell whether width matters in any of the 6 measures"),
        (8, {}, NONE, "no effect of width is told apart from none in any of the 6 measures of how Atlantis is taken "
                      "in; the intervals reach 0.070 at most."),
        (3, {"ftwb1_trained": "wider higher"}, FEW, "a rise of 0.042 in FTWB1 trained; for FTWB1 transfer, "),
        (3, {"ftwb1_trained": "wider lower"}, FEW, "comes with a fall of 0.031 in FTWB1 trained; for "),
        (8, {"ftwb1_trained": "wider higher", "ftwb2_transfer": "wider lower"}, NONE,
         "comes with a rise of 0.042 in FTWB1 trained and a fall of 0.031 in FTWB2 transfer; for "),
        (8, {"ftwb1_trained": FEW}, NONE, "for FTWB1 trained 8 seeds do not suffice to tell; for FTWB1 transfer, "),
        (3, {"skill_trained": "wider higher", "retention_other": "wider lower"}, FEW, "3 seeds do not suffice to tell"),
    ],
)  # fmt: skip
def test_the_answer_follows_the_verdicts_on_the_trends(
    study: Comparison, n: int, verdicts: dict[str, str], default: str, sentence: str
) -> None:
    (answer,) = answers(with_verdicts(study, n, verdicts, default))
    assert answer.condition == "At the published epochs"
    assert sentence in answer.text
    told_at_all = any(" higher" in v or " lower" in v for m, v in verdicts.items() if m.startswith("ftwb"))
    assert answer.text.startswith("each doubling of the width from narrow to wide comes with") == told_at_all


def test_without_a_trend_the_answer_is_that_of_the_ends(study: Comparison) -> None:
    differences = study.differences.assign(verdict=FEW)
    chosen = (differences["budget"] == "flops") & (differences["metric"] == "ftwb1_transfer")
    differences.loc[chosen, "verdict"] = "wide lower"
    size = number(abs(float(differences.loc[chosen, "mean"].iloc[0])))
    (_, answer) = answers(replace(study, differences=differences))
    assert answer.condition == "At equal pre-training FLOPs"
    assert answer.text.startswith(f"going from narrow to wide comes with a fall of {size} in FTWB1 transfer; for ")
    assert "Pre-training FLOPs are the same for every width; fine-tuning FLOPs differ by up to 11.6" in answer.caveat


def test_compute_is_judged_by_its_counts(study: Comparison) -> None:
    published, fine = compute_text(study, "epochs")
    assert "it is 192 for narrow, base and wide" in published
    assert re.search(r"That does not hold compute constant: wide gets 2\.89. the FLOPs of narrow\.", published)
    assert re.search(r"Fine-tuning is not equalised: every width makes the same \d,\d+ steps, .* up to 11\.6", fine)
    equal, _ = compute_text(study, "flops")
    assert re.search(
        r"Every width gets the pre-training FLOPs of wide: .* differ by (less than )?0\.\d+ %.* tokens of wide\.", equal
    )
    runs = study.runs.assign(budget="tokens", tokens=1000, flops=[6000.0 * n for n in study.runs["parameters"]])
    tokens, _ = compute_text(replace(study, runs=runs), "tokens")
    assert "Every width gets the tokens of wide: the counts differ by 0 % at most." in tokens
    same = replace(study, runs=runs.assign(flops=1e9, finetuning_flops=1e9, budget="epochs"))
    assert "FLOPs are the same for every width." in compute_text(same, "epochs")[0]
    assert compute_text(same, "epochs")[1] == "Fine-tuning FLOPs are the same for every width."


def test_conclusions_follow_the_verdicts(study: Comparison) -> None:
    nothing = replace(study, differences=study.differences.assign(verdict=NONE), trends=pd.DataFrame())
    assert told(nothing, "epochs") == []
    open_lines = untold(nothing, "epochs")
    assert len(open_lines) == len(study.metrics)
    assert re.fullmatch(r"FTWB1 trained: any two widths; differences of up to 0\.\d\d lie within .*", open_lines[0])
    differences = study.differences.assign(verdict=NONE)
    one = (differences["metric"] == "ftwb1_trained") & (differences["other"] == "base")
    differences.loc[one, "verdict"] = "base lower"
    differences.loc[one, "mean"] = -0.25
    some = replace(study, differences=differences, trends=pd.DataFrame())
    assert told(some, "epochs") == ["FTWB1 trained: base \N{MINUS SIGN} narrow \N{MINUS SIGN}0.250."]
    assert "base \N{MINUS SIGN} narrow" not in untold(some, "epochs")[0]


def test_the_limits_name_the_numbers_they_are_about(study: Comparison) -> None:
    text = " ".join(limits(study))
    for metric in ("base_skill", "skill_transfer"):
        for row in study.widths[study.widths["metric"] == metric].to_dict("records"):
            assert f"{number(row['mean'], 2)} ({row['arch']})" in text
    assert "Scale laptop is not the published one: 96 ordinary cities, 3 layers" in text
    published = replace(study, settings=replace(study.settings, scale="paper"))
    assert "not the published one" not in " ".join(limits(published))


def test_widths_that_are_told_apart_are_said_where_the_trend_is_not_told(study: Comparison) -> None:
    silent = with_verdicts(study, 3, {}, FEW)
    differences = silent.differences.copy()
    chosen = (differences["budget"] == "epochs") & (differences["metric"] == "ftwb1_trained")
    differences.loc[chosen, "verdict"] = [f"{other} higher" for other in differences.loc[chosen, "other"]]
    largest = differences[chosen].sort_values("mean", key=abs).iloc[-1]
    answer = answers(replace(silent, differences=differences))[0]
    pair = f"{largest['other']} {MINUS} {largest['arch']} is {number(largest['mean'], 2, sign=True)} in FTWB1 trained"
    assert answer.text.startswith(f"some widths are told apart: {pair}; a straight-line trend")
