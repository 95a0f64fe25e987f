"""The report: one file, legible everywhere, whose numbers and sentences are those of the comparison.

pytest tests/test_report.py
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from fake_runs import fake_runs
from report_page import PROJECT, Page, data_of, page_of
from worldwidth.comparison.tables import Comparison, compare, records
from worldwidth.core.text import MINUS, number, plus_minus, score
from worldwidth.plots.style import COLORS
from worldwidth.plots.svg import inline_svg
from worldwidth.report.matrix import constants_of, sets_of
from worldwidth.report.sentences import compute_caveat, headline, limits
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings


@pytest.fixture(scope="module")
def settings() -> Settings:
    """Three tasks, the control, three models of one task and one of two."""
    finetunes: dict[str, tuple[str, ...]] = {"ftwb0-0": (), "ftwb1-1": ("distance",), "ftwb1-4": ("compass",)}
    pair = {"ftwb1-5": ("inside",), "ftwb2-15": ("compass", "distance")}
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
    return page_of(study, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def one_arch(settings: Settings) -> Comparison:
    return compare(fake_runs(settings, archs=("wide",), seeds=(1, 2)))


# --- the file


@pytest.mark.parametrize(("name", "tasks"), [("ftwb0-0", ()), ("plug1-1", ("distance",))])
def test_models_that_answer_nothing_have_a_page(
    settings: Settings, tmp_path: Path, name: str, tasks: tuple[str, ...]
) -> None:
    runs = fake_runs(replace(settings, finetunes={name: tasks}), archs=("narrow", "wide"), seeds=(1, 2))
    assert page_of(compare(runs), tmp_path).tables


def test_the_page_loads_nothing(page: Page) -> None:
    """Its own two scripts, of which one is data; links lead within the page, and to the files beside it."""
    loading = {"link", "img", "iframe", "object", "embed", "video", "audio", "source", "base"}
    assert not loading & {tag for tag, _ in page.tags}
    scripts = [found for tag, found in page.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    assert not page.attributes("src") + page.attributes("srcset")
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    for address in page.attributes("href") + page.attributes("xlink:href"):
        assert address.startswith("../../results/comparison/laptop/") or address[1:] in ids, address
    assert set(re.findall(r"url\(#([^)]+)\)", page.html)) <= set(ids)
    assert not re.search(r"url\((?!#)|@import|@font-face|\bon[a-z]+=|fetch\(|XMLHttp|import\(", page.html)
    elsewhere = set(re.findall(r"[a-z]+://[^\s\"'<]+", page.html))
    assert elsewhere <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names, not addresses


def test_the_committed_reports_are_small() -> None:
    for path in (PROJECT / "report").glob("recipes/index.html"):
        html = path.read_text(encoding="utf-8")
        assert len(html.encode()) < 1_000_000
        assert len(re.findall(r'id="data">(.*?)</script>', html, re.DOTALL)[0]) < 100_000


def test_the_page_is_for_people_who_see_it_and_people_who_do_not(page: Page) -> None:
    assert page.html.startswith("<!DOCTYPE html>\n<html lang=")
    assert all(table.caption for table in page.tables)
    assert all(found.get("scope") for tag, found in page.tags if tag == "th")
    charts = [found for tag, found in page.tags if tag == "svg" and found.get("role")]
    assert all(found["role"] == "img" and found["aria-label"] for found in charts)
    assert len(charts) == 2 + 2 + 1 + 2  # results, forests of two arms, curves, forgetting


def test_the_page_has_a_dark_and_a_printed_form(page: Page) -> None:
    assert page.html.count("@media screen and (prefers-color-scheme: dark)") == 2
    assert "@media print" in page.html
    drawings = page.html[page.html.index("<svg") : page.html.index("<script")]
    drawings = re.sub(r'<td style="[^"]*">', "", drawings)
    assert not [color for pair in COLORS for color in (*pair, "#1a1a1a", "#555555") if color in drawings]
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


def test_the_same_comparison_gives_the_same_bytes(one_arch: Comparison, tmp_path: Path) -> None:
    assert page_of(one_arch, tmp_path / "a").html == page_of(one_arch, tmp_path / "b").html


def test_text_from_outside_stays_text(one_arch: Comparison, tmp_path: Path) -> None:
    hostile = "</pre><script>alert('x')</script>\"&\x1b\u202e"
    page = page_of(
        one_arch,
        tmp_path,
        params=hostile,
        machine=hostile,
        worldwidth_commit=hostile,
        versions={hostile: hostile},
        experiments=[{"name": hostile, "commit": hostile}],
    )
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert page.text.count("<script>") == 6  # a version's name too; a commit is cut to its first characters
    assert hostile.replace("\x1b\u202e", r"\x1b\u202e") in "".join(page.words)
    assert not {"\x1b", "\u202e"} & set(page.html)


def test_no_text_ends_the_data(settings: Settings, tmp_path: Path) -> None:
    runs = fake_runs(settings, archs=("narrow", "wide"))
    made = compare(runs)
    axis = replace(made.axis, noun="</script><script>alert(1)</script>")
    page = page_of(replace(made, design=replace(made.design, by=(axis,))), tmp_path)
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert data_of(page)["noun"] == axis.noun


# --- the first screen


def test_the_first_screen_has_question_answer_charts_and_runs(page: Page) -> None:
    """Before the first heading: what came out with its control, both charts, all archs and the control named."""
    first = page.html[: page.html.index("<h2>")]
    assert "Does the width change how a small transformer takes in new entities?" in first
    assert first.count('<svg class="dots"') == 2
    for text in ("narrow", "base", "wide", "control: fine-tuned on no task", "one seed", "95 % interval"):
        assert f"</svg> {text}" in first
    assert "Scale laptop · 3 widths · 2 arms · 2 to 3 seeds each · 13 runs · 2026-01-02" in first
    assert first.count('class="single') - 1 == 2 * (3 * 3 + 2 * 2)  # and the legend's
    assert first.count('class="control"') - 1 == 5


def test_a_headline_has_its_confound(study: Comparison) -> None:
    said, rest = headline(study)
    row = records(study.differences, arm="epochs", metric="skill_trained", level="narrow", other="wide")[0]
    change = plus_minus(row["mean"], row["low"], row["high"], sign=True)
    assert said.startswith(f"Skill trained: {change} from narrow to wide; ")
    text = " ".join(rest)
    skill, over = (
        records(study.means, arm="epochs", metric=name, level="wide")[0]["mean"]
        for name in ("skill_transfer", "skill_transfer_minus_control")
    )
    assert f"and {number(skill, 2)} (wide); the best constant answer has 0, the control" in text
    assert f"{number(skill - over, 2)}." in text
    assert "pre-training FLOPs (up to 2.89\N{MULTIPLICATION SIGN})" in text
    assert "The same with flops: " in text


def test_without_a_control_or_a_pair_the_headline_says_so(settings: Settings, one_arch: Comparison) -> None:
    bare = replace(settings, finetunes={"ftwb1-1": ("distance",)})
    assert "There is no control" in " ".join(headline(compare(fake_runs(bare, archs=("narrow", "wide"))))[1])
    assert headline(one_arch) == ("There is one width (wide): nothing to compare yet.", [])
    runs = fake_runs(settings, archs=("narrow",), seeds=(1,)) + fake_runs(settings, archs=("wide",), seeds=(2,))
    assert headline(compare(runs))[0] == "narrow and wide have no seed in common: nothing can be compared pair by pair."


def test_compute_is_judged_by_its_counts(study: Comparison) -> None:
    assert compute_caveat(study, "flops").startswith("Not held constant: fine-tuning FLOPs (up to 11.6")
    assert "equal: pre-training FLOPs" in compute_caveat(study, "flops")
    assert "one learning rate for all" in compute_caveat(study, "flops")
    same = replace(study, runs=study.runs.assign(flops=1e9, finetuning_flops=1e9))
    assert compute_caveat(same, "epochs").startswith("Equal: pre-training FLOPs and fine-tuning FLOPs; ")


# --- the linked matrix


def test_without_a_script_the_first_matrix_is_there(study: Comparison, page: Page) -> None:
    table = next(table for table in page.tables if table.caption == "narrow, epochs")
    rows = {tuple(row[:1]): row[1:] for row in table.rows[1:] if len(row) > 1}
    assert len([row for row in table.rows if len(row) == 1]) == len(sets_of(study))  # titles of the sets
    for model, name in (("ftwb2-15", "compass + distance"),):
        for task, cell in zip(study.settings.tasks, rows[name,], strict=True):
            mean = records(study.cells, arm="epochs", level="narrow", matrix="retention", model=model, task=task)[0]
            assert cell.removesuffix(" T") == score(mean["mean"])
            assert cell.endswith(" T") == (task in study.settings.finetunes[model])
    assert "hidden" in dict(next(found for tag, found in page.tags if tag == "form"))


def test_the_data_are_those_of_the_tables(study: Comparison, page: Page) -> None:
    """Every cell of every arm and width, and the differences of every two."""
    data = data_of(page)
    sets, tasks = sets_of(study), study.settings.tasks
    assert [one["title"] for one in data["sets"]] == [block.title for block in sets]
    for arm in study.arms:
        for level in study.levels(arm):
            for block, found in zip(sets, data["cells"][arm][level], strict=True):
                rows = {(r["model"], r["task"]): r for r in block.rows(study.cells, arm=arm, level=level)}
                places = [(model, task) for model in block.models for task in tasks]
                assert [value / 100 for value in found["mean"]] == [round(rows[at]["mean"], 2) for at in places]
                halves = [(rows[at]["high"] - rows[at]["low"]) / 2 for at in places]
                assert [value / 100 for value in found["half"]] == pytest.approx(halves, abs=0.0051)
                assert found["raw"] == [float(f"{rows[at]['raw']:.3g}") for at in places]
    assert set(data["pairs"]["epochs"]) == {"base|narrow", "wide|narrow", "wide|base"}
    row = records(study.cell_differences, arm="epochs", level="narrow", other="wide", model="ftwb1-1", task="compass")
    assert data["pairs"]["epochs"]["wide|narrow"][0]["mean"][1] / 100 == round(row[0]["mean"], 2)


def test_the_best_constant_answer_follows_from_raw_scores_and_skills() -> None:
    """An error of 48 of distance, where skill is 1 - v / 48; a share of 0.3 of compass, (v - 0.3) / 0.7."""
    raw = {"distance": (12.0, 36.0), "compass": (0.44, 0.86)}
    means = {"distance": (0.75, 0.25), "compass": (0.2, 0.8)}
    rows = [
        {"matrix": "skill", "task": task, "raw": v, "mean": s}
        for task in raw
        for v, s in zip(raw[task], means[task], strict=True)
    ]
    table = pd.DataFrame([*rows, {"matrix": "skill", "task": "inside", "raw": 1.0, "mean": np.nan}])
    assert constants_of(table, ["distance", "compass", "inside"]) == [48, 0.3, None]


def test_what_has_no_number_is_hatched(settings: Settings, tmp_path: Path) -> None:
    runs = fake_runs(settings, archs=("narrow", "wide"), seeds=(1, 2))
    for i, run in enumerate(runs):
        cells = {key: values for key, values in run.cells.items() if key[1] != "ftwb1-4"}
        cells = {key: np.full_like(v, np.nan) if key[2] == "inside" else v for key, v in cells.items()}
        runs[i] = replace(run, cells=cells, missing=("ftwb1-4",))
    page = page_of(compare(runs), tmp_path)
    assert data_of(page)["cells"]["epochs"]["narrow"][0]["mean"][2] is None
    assert page.html.count('<td class="none">') > 6
    assert "ftwb1-4" in page.text  # among the experiments' missing models


# --- further


def test_every_pair_has_its_verdict_beside_it(study: Comparison, page: Page) -> None:
    rows = records(study.differences, metric="skill_trained")
    for row in rows:
        assert f"{row['other']} {MINUS} {row['level']}: {number(row['mean'], 2)} [" in page.html
    assert page.html.count('class="note" x=') == len(rows)


def test_every_mean_and_every_meaning_is_on_the_page(study: Comparison, page: Page) -> None:
    table = page.table("Means over seeds, \N{PLUS-MINUS SIGN} half of the 95 % interval, epochs")
    assert len(table.rows) == 1 + len(study.metrics)
    for metric, row in zip(study.metrics, table.rows[1:], strict=True):
        own = records(study.means, arm="epochs", metric=metric)
        assert row[1:] == [plus_minus(one["mean"], one["low"], one["high"]) for one in own]
    for known in study.metrics.values():
        assert known.label in page.text
        assert known.meaning in page.text


def test_the_experiments_are_listed(one_arch: Comparison, tmp_path: Path) -> None:
    known = page_of(one_arch, tmp_path).table("The experiments")
    assert known.rows[1] == ["wide-epochs-s1", "ffffffffffff", "wide, epochs, seed 1", "15 of 15", ""]


def test_limits_are_few_and_name_what_they_are_about(study: Comparison, settings: Settings) -> None:
    assert len(limits(study)) <= 6
    text = " ".join(limits(study))
    assert "Scale laptop is not the published one: 96 ordinary cities" in text
    published = replace(study, settings=replace(study.settings, scale="paper"))
    assert "not the published one" not in " ".join(limits(published))
    bare = compare(fake_runs(replace(settings, finetunes={"ftwb1-1": ("distance",)}), archs=("narrow", "wide")))
    assert "There is no model of no task" in " ".join(limits(bare))


def test_a_report_by_rate_says_so(settings: Settings, tmp_path: Path) -> None:
    rate = "finetuning.learning_rate"
    runs = fake_runs(settings, archs=("narrow", "deep"), seeds=(1, 2), rates=(1e-3, 2e-3, 4e-3), draws=(42, 43))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worldwidth.report.page.draw_scores", lambda *_: Figure())
        page = page_of(compare(runs, by=(rate,)), tmp_path, name="rates", by=[rate], sweeps=["rates"])
    assert "<title>Values of finetuning.learning_rate compared, scale laptop</title>" in page.html
    assert "Does finetuning.learning_rate change how a small transformer takes in new entities?" in page.text
    assert "Scores over finetuning.learning_rate" in page.text
    assert "2 draws of Atlantis, a seed and a draw to every run" in page.text
    for word in ("width", "wider", "widest"):
        assert word not in page.text.replace("worldwidth", "").replace("narrow", "")
