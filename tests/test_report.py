"""The report: one file, legible everywhere, whose numbers and sentences are those of the comparison.

pytest tests/test_report.py
"""

import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from fake_runs import fake_run, fake_runs, published, with_scale
from worldwidth.comparison.tables import Comparison, compare, records
from worldwidth.core.text import MINUS, number, p_value
from worldwidth.plots.svg import inline_svg
from worldwidth.report.page import write_report
from worldwidth.report.sentences import compute_caveat, headline, limits
from worldwidth.report.tables import verdicts
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings

PROJECT = Path(__file__).parents[1]
VOID = {"meta", "br", "hr", "img", "link", "input"}
PROVENANCE: dict[str, Any] = {
    "name": "laptop",
    "by": ["arch"],
    "sweeps": [],
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
    rows: list[list[str]] = field(default_factory=list)

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
    """Write the report and read it again; drawing is what takes the time."""
    with pytest.MonkeyPatch.context() as patch:
        of_page, of_transfer = ("scores", "curves", "panels"), ("divergence", "givers", "patterns", "efficiency")
        for module, names in (("page", of_page), ("transfer", of_transfer)):
            for name in () if drawn else names:
                patch.setattr(f"worldwidth.report.{module}.draw_{name}", lambda *_, **__: Figure())
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
        lacking = "ftwb2-15" if run.arch == "wide" else "ftwb1-4" if run.settings.seed == 1 else ""
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
    assert all(found["aria-label"] and found["viewbox"] for found in pictures)
    roles = [found["role"] for found in pictures]
    matrices = (3 + 2) * 5 + 3 * 2  # of every width under both budgets, and how the ends differ
    patterns = 2  # one an arm
    # scores, curves, givers and efficiency are pictures; what is in a group can be read
    assert (roles.count("img"), roles.count("group")) == (4, matrices + patterns)
    sections = [found["id"] for tag, found in page.tags if tag == "section"]
    assert sections == [address[1:] for address in page.attributes("href") if address[1:] in sections][: len(sections)]
    assert sections[0] == "question"
    assert sections[-2:] == ["conclusions", "provenance"]


def test_the_page_has_a_dark_and_a_printed_form(page: Page) -> None:
    assert page.html.count("@media screen and (prefers-color-scheme: dark)") == 1
    assert "@media print" in page.html
    drawings = page.html[page.html.index("<svg") :]
    assert not re.search("#1a1a1a|#555555", drawings)
    assert "fill: var(--ink)" in drawings
    assert "font-family" not in drawings
    assert "<style" not in drawings  # it would be that of the whole page


def test_a_drawing_is_made_smaller_and_its_texts_stay() -> None:
    figure = Figure()
    figure.text(0.51234567, 0.5, "0.123456 on\n<a> & 'b'")
    svg = inline_svg(figure, "one", "a label")
    page = Page(svg)
    assert "0.123456 on" in page.text
    assert "<a> & 'b'" in page.text
    assert not re.search(r'="[^"]*\.\d{3}', svg)
    assert " id=" not in svg  # nothing refers to one


def test_the_same_comparison_gives_the_same_bytes(one_seed: Comparison, tmp_path: Path) -> None:
    assert page_of(one_seed, tmp_path / "a", drawn=True).html == page_of(one_seed, tmp_path / "b", drawn=True).html


def test_text_from_outside_stays_text(one_arch: Comparison, tmp_path: Path) -> None:
    hostile = "</pre><script>alert('x')</script>\"&\x1b\u202e"
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
    assert hostile.replace("\x1b\u202e", r"\x1b\u202e") in "".join(page.words)
    assert not {"\x1b", "\u202e"} & set(page.html)


# --- numbers


def test_every_number_of_the_table_of_widths_is_on_the_page(study: Comparison, page: Page) -> None:
    for budget in study.arms:
        table = page.table(f"Means over seeds, budget {budget}, with 95 % intervals")
        means = study.means[study.means["arm"] == budget]
        for arch, rows in means.groupby("level"):
            label, seeds, *stats = table.row(str(arch))
            assert (label, seeds) == (arch, "3" if budget == "epochs" else "2")
            for stat, row in zip(stats, rows.to_dict("records"), strict=True):
                assert stat.startswith(f"{number(row['mean'])} [{number(row['low'])}, {number(row['high'])}] lines ±")
    labels = page.text.replace("(", "").replace(")", "")
    for metric in study.metrics.values():
        assert metric.label.replace(", ", " ").replace("(", "").replace(")", "") in labels
        assert metric.meaning in page.text


def test_every_trend_and_difference_has_its_p_and_verdict(study: Comparison, page: Page) -> None:
    table = page.table("Change per doubling of the width, budget epochs")
    assert len(table.rows) == 1 + len(study.trends) == len(study.metrics) + 1 == 16
    for row, trend in zip(table.rows[1:], study.trends.to_dict("records"), strict=True):
        arrow = {"▲": " higher", "▼": " lower"}.get(row[-1][0], "")
        assert row[1:4] == [number(trend["slope"], sign=True), reach_of(trend), "3"]
        assert row[4:6] == [p_value(trend["p"]), p_value(trend["p_holm"])]
        assert row[6].lstrip("▲▼ ") == trend["verdict"].partition(":")[0]
        assert trend["verdict"].endswith(arrow)
    pairs = study.differences[(study.differences["metric"] == "ftwb1_trained") & (study.differences["arm"] == "epochs")]
    table = page.table("FTWB1 trained")
    for pair in pairs.to_dict("records"):
        _, difference, reach, n, p, verdict = table.row(f"{pair['other']} \N{MINUS SIGN} {pair['level']}")
        assert [difference, reach, n] == [number(pair["mean"], sign=True), reach_of(pair), "3"]
        assert p == p_value(pair["p_holm"])
        assert verdict.lstrip("▲▼ ") == pair["verdict"].partition(":")[0]


def test_one_pair_of_widths_is_one_table(study: Comparison, page: Page) -> None:
    table = page.table("wide \N{MINUS SIGN} narrow")
    assert [row[0] for row in table.rows[1:3]] == ["FTWB1 trained", "FTWB1 transfer"]
    assert len(table.rows) == 1 + len(study.metrics)


def test_the_matrices_have_a_cell_for_every_model_and_task(study: Comparison, page: Page) -> None:
    """Each tells its mean, its interval and its n."""
    cells = study.cells[~study.cells["matrix"].isin(["skill", "log-skill", "base"])]
    assert page.html.count("<title>narrow, trained on") == len(cells[cells["level"] == "narrow"])
    finetunes = study.settings.finetunes
    for row in cells[cells["arm"] == "epochs"].to_dict("records"):
        where = f"{row['level']}, trained on {' and '.join(finetunes[row['model']])}, evaluated on {row['task']}"
        between = f"[{number(row['low'], 2)}, {number(row['high'], 2)}]"
        assert f"{where}: {number(row['mean'], 2)}, 95 % interval {between}, n = 3, lines ±" in page.text
    changes = study.cell_differences
    changes = changes[changes["matrix"].isin(["ftwb1", "ftwb2", "difference"])]
    for row in changes[(changes["level"] == "narrow") & (changes["other"] == "wide")].to_dict("records"):
        where = f"wide {MINUS} narrow, trained on {' and '.join(finetunes[row['model']])}, evaluated on {row['task']}"
        assert f"{where}: {number(row['mean'], 2)}, 95 % interval [{number(row['low'], 2)}, " in page.text


# --- what is not there


def test_one_seed_has_no_interval_and_no_verdict(one_seed: Comparison, tmp_path: Path) -> None:
    page = page_of(one_seed, tmp_path)
    stats = page.table("Means over seeds, with 95 % intervals").row("wide")[2:]
    assert all(re.fullmatch(r"\N{MINUS SIGN}?\d\.\d{3} lines ±0\.\d{3}", stat) for stat in stats)
    assert {row[-1] for row in page.table("FTWB1 trained").rows[1:]} == {"too few seeds to say (n = 1)"}
    assert "changes none of the 6 measures" in page.text
    assert "too few seeds to say (n = 1): 6" in page.text
    assert {(row.pairs, row.reach) for row in verdicts(one_seed, "epochs")} == {("none of 3", "\N{EN DASH}")}


def test_one_width_is_not_compared(one_arch: Comparison, tmp_path: Path) -> None:
    page = page_of(one_arch, tmp_path)
    assert "there is one width (wide): nothing to compare yet." in page.text
    assert "No differences: there is one width." in page.text
    assert "No trend: it takes three widths" in page.text
    assert "The last minus the first" not in page.text
    assert "Nothing is compared." in page.text


def test_missing_models_and_cells_that_are_not_measurable_are_said(patchy: Comparison, tmp_path: Path) -> None:
    page = page_of(patchy, tmp_path, drawn=True)
    assert "narrow (compass: missing in 1 of 2 runs)" in page.text
    assert "wide (compass + distance: missing)" in page.text
    assert "FTWB2 (compass + distance: wide: missing)" in page.text
    assert (
        page.text.count("narrow, trained on distance, evaluated on inside: not measurable") == 3
    )  # in its matrix, in retention, in the difference
    assert page.text.count("wide, trained on compass and distance, evaluated on inside: no model") == 3
    assert page.text.count(f"wide {MINUS} narrow, trained on compass and distance, evaluated on inside: no model") == 2
    assert page.table("Means over seeds, with 95 % intervals").row("narrow")[2].endswith("1 of 3 cells")


def test_nothing_measurable_is_said(one_seed: Comparison, tmp_path: Path) -> None:
    empty = dict.fromkeys(("mean", "low", "high", "line_se"), np.nan)
    nothing = replace(
        one_seed,
        means=one_seed.means.assign(n=0, cells=0, **empty),
        cells=one_seed.cells.assign(n=0, **empty),
        differences=one_seed.differences.assign(n=0, verdict="not measurable", **empty),
        trends=one_seed.trends.assign(n=0, verdict="not measurable", slope=np.nan),
        runs=one_seed.runs.assign(**dict.fromkeys(one_seed.metrics, np.nan)),
    )
    page = page_of(nothing, tmp_path)
    assert "none of the 6 measures of how Atlantis is taken in significantly; not measurable: 6" in page.text
    assert page.table("Means over seeds, with 95 % intervals").row("base")[2] == "n.m. 0 of 3 cells n = 0"


def test_widths_without_a_seed_in_common_are_not_compared(settings: Settings, tmp_path: Path) -> None:
    runs = fake_runs(settings, archs=("narrow",), seeds=(1,)) + fake_runs(settings, archs=("wide",), seeds=(2,))
    page = page_of(compare(runs), tmp_path)
    assert "narrow and wide have no seed in common: nothing can be compared pair by pair." in page.text
    assert "No differences: no two widths have a seed in common." in page.text


def test_the_experiments_are_listed(one_arch: Comparison, tmp_path: Path) -> None:
    known = page_of(one_arch, tmp_path).table("The experiments: dvc exp apply NAME brings one back")
    assert known.rows[1] == ["wide-epochs-s1", "ffffffffffff", "wide, epochs, seed 1", "12 of 12", ""]


# --- verdicts

FEW, NONE = "too few seeds to say (n = 3)", "not significant"


def with_verdicts(comparison: Comparison, trends: dict[str, str], default: str, pairs: str = FEW) -> Comparison:
    """The comparison under its first budget, with other verdicts on its trends, and on all pairs of widths."""
    found = [trends.get(metric, default) for metric in comparison.trends["metric"]]
    slopes = [-0.031 if verdict.endswith("lower") else 0.0421 for verdict in found]
    return replace(
        comparison,
        trends=comparison.trends.assign(verdict=found, slope=slopes),
        differences=comparison.differences.assign(verdict=pairs),
        arms=("epochs",),
    )


UP, DOWN = "significant: wider higher", "significant: wider lower"


@pytest.mark.parametrize(
    ("verdicts", "default", "said"),
    [
        ({}, FEW, f"none of the 6 measures of how Atlantis is taken in significantly; {FEW}: 6; of the 18"),
        ({}, NONE, "none of the 6 measures of how Atlantis is taken in significantly; not significant: 6; of the 18"),
        ({"ftwb1_trained": UP}, FEW, f"1 of the 6 measures of how Atlantis is taken in significantly (FTWB1 trained "
                                     f"+0.042); {FEW}: 5; "),
        ({"ftwb1_trained": UP, "ftwb2_transfer": DOWN}, NONE, f"(FTWB1 trained +0.042 and FTWB2 transfer {MINUS}0.031)"
                                                              "; not significant: 4; "),
        ({"ftwb1_trained": FEW}, NONE, f"; {FEW}: 1; not significant: 5; "),
        ({"skill_trained": UP, "retention_other": DOWN}, FEW, f"none of the 6 measures of how Atlantis is taken in "
                                                              f"significantly; {FEW}: 6; "),
    ],
)  # fmt: skip
def test_the_headline_counts_the_verdicts_on_the_trends(
    study: Comparison, verdicts: dict[str, str], default: str, said: str
) -> None:
    text = headline(with_verdicts(study, verdicts, default), "epochs")
    assert text.startswith("each doubling of the width from narrow to wide changes ")
    assert said in text
    assert text.endswith("of the 18 differences of two widths, none are significant.")


def test_the_headline_counts_the_pairs_beside_the_trends(study: Comparison) -> None:
    text = headline(with_verdicts(study, {}, FEW, pairs="significant: wide higher"), "epochs")
    assert text.endswith(f"{FEW}: 6; of the 18 differences of two widths, 18 are significant.")


def test_without_a_trend_the_headline_is_on_the_ends(study: Comparison) -> None:
    differences = study.differences.assign(verdict=FEW)
    chosen = (differences["arm"] == "flops") & (differences["metric"] == "ftwb1_transfer")
    differences.loc[chosen, "verdict"] = "significant: wide lower"
    size = number(float(differences.loc[chosen, "mean"].iloc[0]), sign=True)
    text = headline(replace(study, differences=differences), "flops")
    assert text.startswith("going from narrow to wide changes 1 of the 6 measures ")
    assert f"(FTWB1 transfer {size}); {FEW}: 5." in text


def test_compute_is_judged_by_its_counts(study: Comparison, page: Page) -> None:
    times = "\N{MULTIPLICATION SIGN}"
    assert compute_caveat(study, "flops").endswith(f"pre-training FLOPs 1{times} and fine-tuning FLOPs 11.6{times}.")
    assert f"pre-training FLOPs 2.89{times}" in compute_caveat(study, "epochs")
    same = replace(study, runs=study.runs.assign(tokens=1000, flops=1e9, finetuning_flops=1e9))
    assert compute_caveat(same, "epochs").count(f" 1{times}") == 3
    rows = page.table("What each of them gets, budget epochs; ratios are to narrow").rows[1:]
    assert [row[:3] for row in rows] == [["narrow", "12", "192"], ["base", "6", "192"], ["wide", "3", "192"]]


def test_a_row_of_verdicts_has_all_that_is_significant(study: Comparison) -> None:
    differences = study.differences.assign(verdict=NONE)
    one = (differences["metric"] == "ftwb1_trained") & (differences["other"] == "base")
    differences.loc[one, ["verdict", "mean"]] = "significant: base lower", -0.25
    tasks = study.tasks.assign(verdict=NONE)
    chosen = (tasks["metric"] == "ftwb1_trained") & (tasks["task"] == "inside") & (tasks["level"] == "narrow")
    tasks.loc[chosen, ["verdict", "mean"]] = "significant: wide higher", 0.5
    changed = replace(with_verdicts(study, {"ftwb1_trained": DOWN}, NONE), differences=differences, tasks=tasks)
    first, second, *_ = verdicts(changed, "epochs")
    assert (first.metric, first.trend, first.verdict, first.direction) == (
        "FTWB1 trained", f"{MINUS}0.031", "significant", -1)  # fmt: skip
    assert first.pairs.split() == ["base", MINUS, "narrow", f"{MINUS}0.25"]
    assert first.tasks.split() == ["inside", "+0.50"]
    assert (second.verdict, second.direction, second.pairs, second.tasks) == (NONE, 0, "none of 3", "none of 3")
    rows = records(differences, arm="epochs", metric="ftwb1_transfer")
    assert second.reach == number(max(row["excluded"] for row in rows), 2)


def test_the_limits_name_the_numbers_they_are_about(study: Comparison) -> None:
    text = " ".join(limits(study))
    for metric in ("base_skill", "skill_transfer"):
        for row in study.means[study.means["metric"] == metric].to_dict("records"):
            assert f"{number(row['mean'], 2)} ({row['level']})" in text
    assert "Scale laptop is not the published one: 96 ordinary cities, 3 layers" in text
    published = replace(study, settings=replace(study.settings, scale="paper"))
    assert "not the published one" not in " ".join(limits(published))


# --- other axes, draws, and the control

RATE = "finetuning.learning_rate"


@pytest.fixture(scope="module")
def controlled(settings: Settings) -> Settings:
    """With the model of no task."""
    return replace(settings, finetunes={"ftwb0-0": (), **settings.finetunes})


def test_a_report_by_rate_says_so(controlled: Settings, tmp_path: Path) -> None:
    runs = fake_runs(controlled, archs=("narrow", "deep"), seeds=(1, 2), rates=(1e-3, 2e-3, 4e-3), draws=(42, 43))
    comparison = compare(runs, by=(RATE,))
    page = page_of(comparison, tmp_path, name="rates", by=[RATE], sweeps=["rates"])
    assert "<title>Values of finetuning.learning_rate compared, scale laptop</title>" in page.html
    assert "Does finetuning.learning_rate change how a small transformer takes in new entities?" in page.text
    said = (
        "With each arch's own epochs, arch deep , each doubling of finetuning.learning_rate from 1e-3 to 4e-3 changes"
    )
    assert said in page.text
    assert "differences of two values of finetuning.learning_rate" in page.text
    means = page.table("Means over seeds, epochs, deep, with 95 % intervals")
    assert [row[0] for row in means.rows] == ["learning_rate", "trained", "1e-3", "2e-3", "4e-3"]
    assert [row[1] for row in means.rows[2:]] == ["4", "4", "4"]
    assert "rates , by finetuning.learning_rate; of params.yaml: rates" in page.text
    assert "results/comparison/rates/cells.csv" in page.text
    assert "2 draws of Atlantis, a seed and a draw to every run" in page.text
    assert "Hyper-parameters are not tuned" not in page.text  # the rate is what is compared
    for word in ("width", "wider", "widest"):
        assert word not in page.text.replace("worldwidth", "")


def test_a_report_by_architecture_tells_depth_from_width(controlled: Settings, tmp_path: Path) -> None:
    comparison = compare(fake_runs(controlled, archs=("narrow", "deep", "base", "wide")))
    page = page_of(comparison, tmp_path)
    assert "Does the architecture change" in page.text
    assert "each doubling of the width from narrow to wide changes" in page.text
    assert "of two architectures" in page.text
    sizes = page.table("The archs: all that differs between them by construction")
    assert sizes.row("deep")[1:3] == ["12", "32"]
    assert "3 or 12 layers" in page.text
    assert "over the archs of one depth" in page.text


def test_the_control_is_said(controlled: Settings, tmp_path: Path) -> None:
    comparison = compare(fake_runs(controlled, archs=("narrow", "wide")))
    page = page_of(comparison, tmp_path, drawn=True)
    rows = records(comparison.means, metric="ftwb1_transfer_minus_control")
    values = " and ".join(f"{number(row['mean'], 2, sign=True)} ({row['level']})" for row in rows)
    assert f"FTWB1 transfer {MINUS} control is {values}." in page.text
    assert "Control: the same model fine-tuned on no task" in page.text
    assert "4 times" not in page.text
    assert "5 times ( 1 on no task, 3 on 1 task and 1 on 2 tasks )" in page.text.replace("(1", "( 1").replace(
        "s)", "s )"
    )
    table = page.table(f"wide {MINUS} narrow")
    assert {f"FTWB1 transfer {MINUS} control", f"FTWB2 transfer {MINUS} control", "control (no task)"} <= {
        row[0] for row in table.rows
    }
    for text in (f"wide {MINUS} narrow, trained on no task, evaluated on", "narrow, trained on no task, evaluated on"):
        assert page.text.count(f"{text} distance") >= 1
    control = " and ".join(
        f"{number(row['mean'], 2)} ({row['level']})" for row in records(comparison.means, metric="control")
    )
    assert f"the control's score is {control}." in page.text


def test_without_a_control_the_limits_say_so(study: Comparison) -> None:
    assert "There is no model of no task: what the warm-up lines alone give is part of transfer." in limits(study)


def test_rates_of_an_arch_s_own_are_said(controlled: Settings) -> None:
    scale = published(controlled).selected
    own = replace(scale.archs["narrow"], finetuning={"learning_rate": 4e-3})
    changed = with_scale(published(controlled), archs={**scale.archs, "narrow": own})
    kinds = product(("narrow", "wide"), (1, 2, 3))
    runs = [fake_run(replace(changed, arch=arch, seed=seed), 0.0, 0.03) for arch, seed in kinds]
    text = " ".join(limits(compare(runs)))
    assert "adamw, 0.004 in fine-tuning (narrow) and" in text
    assert "adamw, 0.001 in fine-tuning (wide)" in text
    assert "not tuned for each arch" in " ".join(limits(compare(fake_runs(controlled, archs=("narrow", "wide")))))
