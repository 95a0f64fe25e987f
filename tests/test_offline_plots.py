"""The pages of `dvc plots` need no network: their template brings the chart libraries, and draws what DVC plots.

pytest tests/test_offline_plots.py
"""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import vl_convert

from repository import PROJECT, Repository
from worldwidth.commands.offline_plots import install, page_template, vega_lite_version
from worldwidth.core.errors import WorldwidthError

pytestmark = pytest.mark.pipeline

PLOTS = {
    "results/matrices.csv": "crossing + inside",
    "results/evaluations.csv": "share exact",
    "results/training.csv": "nats",
}


class Loaded(HTMLParser):
    """What a browser would fetch for a page, and the text of its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.scripts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "data", "srcset")]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script":
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def template() -> str:
    return page_template()


def test_the_template_brings_its_scripts_and_has_the_places_that_dvc_fills(template: str) -> None:
    assert page_template() == template
    assert template.count("{plot_divs}") == template.count("{refresh_tag}") == 1
    assert "{scripts}" not in template
    loaded = Loaded(template)
    assert loaded.addresses == []
    (script,) = loaded.scripts  # no `</script` inside ends it early
    assert script.rstrip().endswith("})();")
    assert "window.vegaEmbed =" in script or "window.vegaEmbed=" in script
    assert not re.search(r"@import|\bimport\s*[({]|\bimport\.meta\b", template)
    assert template.index("charset") < 1024  # where browsers look for it


def test_vega_lite_is_the_newest_of_the_version_that_our_templates_name() -> None:
    schemas = {
        re.findall(r"schema/vega-lite/v(\d+)\.json", p.read_text())[0] for p in PROJECT.glob("templates/plots/*")
    }
    assert schemas == {"5"}
    assert vega_lite_version(["4.17", "5.9", "5.21", "6.4"]) == "5.21"
    assert vega_lite_version(vl_convert.get_vegalite_versions()).startswith("5.")
    with pytest.raises(WorldwidthError, match=r"no Vega-Lite 5; .* constraints\.txt"):
        vega_lite_version(["6.4"])


def test_a_page_that_dvc_makes_has_no_address_to_load_from_and_draws_our_charts(template: str, tmp_path: Path) -> None:
    """A copy of the project with the committed results, before and after the template is installed."""
    repository = Repository(tmp_path)
    for name in PLOTS:
        (repository.folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / name, repository.folder / name)
    usual = Loaded(_page(repository))
    assert [a for a in usual.addresses if a.startswith("https:")]  # a clone without the template still has its charts
    assert "need no network" in repository.ok("python", "-m", "worldwidth.commands.offline_plots")
    assert repository.git("status", "--porcelain", "--", ".dvc") == ""
    page = _page(repository)
    loaded = Loaded(page)
    assert loaded.addresses == []
    assert page.startswith(template.split("{refresh_tag}")[0])
    version = vega_lite_version(vl_convert.get_vegalite_versions())
    charts = [re.findall(r"= ([{].*[}]);\s+vegaEmbed\('#", script, re.DOTALL)[0] for script in loaded.scripts[1:]]
    drawn = [vl_convert.vegalite_to_svg(chart, vl_version=version) for chart in charts]
    for said, svg in zip(PLOTS.values(), drawn, strict=True):
        assert said in svg
        assert len(re.findall(r'aria-roledescription="(?:rect mark|line mark)"', svg)) >= 14


def test_a_local_choice_of_another_template_is_kept(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    config = tmp_path / ".dvc" / "config.local"
    config.write_text("[plots]\n    html_template = mine.html\n")
    assert "not in use: " in install(tmp_path)
    assert (tmp_path / ".dvc" / "plots" / "offline.html").is_file()
    assert "mine.html" in config.read_text()


def test_outside_a_project_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(WorldwidthError, match=r"\.dvc: not found; run this in the folder of the project"):
        install(tmp_path)
    assert list(tmp_path.iterdir()) == []


def _page(repository: Repository) -> str:
    repository.ok("dvc", "plots", "show", "-o", "page", *PLOTS)
    return repository.read("page/index.html")
