"""The committed report in a real browser: what its script does, and what axe-core finds. Skipped where there is none.

pytest -m processes tests/test_report_in_browser.py
"""

import html
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from worldwidth.core.text import MINUS

REPORTS = Path(__file__).parents[1] / "report"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.processes, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]
HELP = """
const one = selector => document.querySelector(selector), all = selector => [...document.querySelectorAll(selector)];
const done = found => { document.body.innerHTML = ""; document.title = JSON.stringify(found); };
const state = () => {
  const first = one("#matrix tbody:not([hidden]) td");
  return {cell: one("#cell caption").textContent, rows: all("#cell tbody tr").length, hash: location.hash,
    title: one("#matrix caption").textContent, bodies: all("#matrix tbody").map(body => body.hidden),
    first: first.textContent, color: first.style.background, stops: all("#matrix td[tabindex='0']").length,
    focus: document.activeElement.cellIndex ?? -1};
};
const pick = (name, value) => {
  const input = [...one("#choices").elements].find(other => other.name === name && other.value === value);
  input.checked = true;
  input.dispatchEvent(new Event("change", {bubbles: true}));
};
"""
"""What the scripts of the tests have in common; each calls ``done`` with what it found."""


def axe() -> str:
    """axe-core, as the Python package brings it along."""
    found = importlib.util.find_spec("axe_core_python")
    if found is None or found.origin is None:
        pytest.skip("axe-core-python is not installed")
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def found_in(
    folder: Path,
    script: str,
    *options: str,
    before: str = "",
    address: str = "",
    width: int = 1280,
    report: str = "recipes",
) -> Any:
    """What ``script`` finds in the page, with no network.

    Args:
        before: a script that it needs.
        address: what stands behind the page's address.
        report: the comparison whose page it is.
    """
    page, further = (
        (REPORTS / report / "index.html").read_text(encoding="utf-8"),
        f"<script>{before}</script><script>{HELP}{script}</script></body>",
    )
    (folder / "page.html").write_text(page.replace("</body>", further), encoding="utf-8")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += [f"--window-size={width},900", "--virtual-time-budget=20000", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command += [*options, "--dump-dom", f"file://{folder / 'page.html'}{address}"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    title = re.search(r"<title>(.*?)</title>", ran.stdout, re.DOTALL)
    assert title
    return json.loads(html.unescape(title[1]))


@pytest.mark.parametrize("report", ["recipes", "tuned"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation(tmp_path: Path, theme: str, report: str) -> None:
    """With all details open."""
    script = """all("details").forEach(detail => { detail.open = true; });
    const said = rule => `${rule.id}: ${rule.nodes.slice(0, 3).map(node => node.html.slice(0, 120)).join(" | ")}`;
    axe.run(document).then(found => done({checked: found.passes.length, wrong: found.violations.map(said)}));"""
    options = ["--blink-settings=preferredColorScheme=0"] if theme == "dark" else []
    found = found_in(tmp_path, script, *options, before=axe(), report=report)
    assert found["wrong"] == []
    assert found["checked"] > 20


def test_the_matrix_follows_the_choices_and_the_keys(tmp_path: Path) -> None:
    script = """const found = {start: state()};
    one("#matrix tbody td").focus();
    for (const key of ["ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft"])
      document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
    found.keys = state();
    pick("level", "published"); found.level = state();
    pick("minus", "default"); found.minus = state();
    pick("minus", ""); pick("colours", "cividis"); found.colours = state();
    pick("set", "1"); found.set = state();
    done(found);"""
    found = found_in(tmp_path, script)
    assert found["start"]["cell"] == "Fine-tuned on distance, evaluated on distance"
    assert found["start"]["rows"] == 3  # both recipes, and the best constant answer
    assert all(state["stops"] == 1 for state in found.values())
    assert found["keys"]["cell"] == "Fine-tuned on trianglearea, evaluated on trianglearea"
    assert found["keys"]["focus"] == 2
    assert "cell=1.1" in found["keys"]["hash"]
    assert found["level"]["title"].startswith("published")
    assert found["level"]["first"] != found["start"]["first"]
    assert found["minus"]["title"].startswith(f"published {MINUS} default")
    assert found["minus"]["first"].startswith(f"{MINUS}0.01")
    assert found["colours"]["color"] != found["level"]["color"]
    assert found["set"]["bodies"][:2] == [True, False]


def test_what_is_chosen_is_kept_in_the_address(tmp_path: Path) -> None:
    state = found_in(tmp_path, "done(state());", address="#level=published&set=0&cell=3.2&minus=")
    assert state["title"].startswith("published")
    assert state["cell"] == "Fine-tuned on compass, evaluated on angle"
    bad = found_in(tmp_path, "done(state());", address="#level=none&set=99&cell=x&colours=__proto__&arm=toString")
    assert bad["title"].startswith("default")
    assert bad["stops"] == 1


def test_the_slider_shows_base_models_at_their_checkpoints(tmp_path: Path) -> None:
    script = """
    const input = one(".steps input"), map = one("figure[data-notes]"), notes = JSON.parse(map.dataset.notes);
    const seen = () => [map.querySelector("span").textContent,
      [...map.querySelectorAll("g")].map(state => getComputedStyle(state).display !== "none")];
    const found = {hidden: one(".steps").hidden, notes, first: seen()};
    input.value = 0;
    input.dispatchEvent(new Event("input"));
    done({...found, last: seen(), said: input.getAttribute("aria-valuetext")});
    """
    found = found_in(tmp_path, script, report="tuned")
    notes = found["notes"]
    assert not found["hidden"]
    assert len(notes) > 2
    assert found["first"] == [notes[-1], [*[False] * (len(notes) - 1), True]]
    assert found["last"] == [notes[0], [True, *[False] * (len(notes) - 1)]]
    assert found["said"] == notes[0]
    assert all(re.match(r"step [\d,]+: R\u00b2 ", note) for note in notes)


def test_tables_are_sorted_and_offered(tmp_path: Path) -> None:
    script = """const table = all("main .data").find(other => other.caption.textContent.startsWith("Transfer"));
    const column = () => [...table.tBodies[0].rows].map(row => row.cells[1].textContent);
    const before = column(), button = table.tHead.querySelectorAll("button")[1];
    button.click();
    const down = column();
    button.click();
    done({before, down, up: column(), sorted: table.querySelector("[aria-sort]").getAttribute("aria-sort"),
      offered: all(".save").map(other => other.textContent)});"""
    found = found_in(tmp_path, script)
    down, up = ([float(text.split()[0].replace(MINUS, "-")) for text in found[way]] for way in ("down", "up"))
    assert down == sorted(down, reverse=True)
    assert up == sorted(up)
    assert sorted(found["before"]) == sorted(found["down"]) != found["before"]
    assert found["sorted"] == "ascending"
    assert {"CSV: matrix", "SVG"} <= set(found["offered"])


@pytest.mark.parametrize("width", [1280, 500])
def test_the_answer_is_on_the_first_screen_and_nothing_is_wider_than_the_page(tmp_path: Path, width: int) -> None:
    script = """const root = document.documentElement, bottom = name => one(name).getBoundingClientRect().bottom;
    done({answer: bottom(".answer"), charts: bottom("#answer"), wide: root.scrollWidth, page: root.clientWidth});"""
    found = found_in(tmp_path, script, width=width)
    assert found["answer"] < 900
    assert found["charts"] < (900 if width == 1280 else 1800)
    assert found["wide"] <= found["page"]
