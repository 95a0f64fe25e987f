"""The reading of a comparison: its numbers are those of the tables, and README.md says the same.

pytest tests/test_reading.py
"""

from pathlib import Path

import pytest

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.text import MINUS
from worldwidth.report.reading import check_reading, read_reading

FINDINGS = f"""# Findings

0.123 is not in the section.

## In short

<!-- comparison: study -->
**Wider is better** where models are trained: 0.83 \u00b1 0.05
([all of it](study.md), 5 seeds).

1. Elsewhere wide has {MINUS}0.25; *at 1.2e3 FLOPs*, [tables](../results/comparison/study/means.csv), <x>.

## Further

0.77 is not in it either.
"""
NUMBERS = f"""number,table,rows,column
0.83,means,"arm=epochs, published,level=wide",mean
0.05,means,"arm=epochs, published,level=wide",half
{MINUS}0.25,means,arm=epochs,mean
1.2e3,runs,level=wide,flops
"""
MEANS = """arm,level,mean,low,high
"epochs, published",wide,0.8349,0.78,0.881
epochs,wide,-0.2451,,
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    tables = tmp_path / "results/comparison/study"
    tables.mkdir(parents=True)
    (tables / "means.csv").write_text(MEANS)
    (tables / "runs.csv").write_text("level,flops\nwide,1234\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/findings.md").write_text(FINDINGS)
    (tmp_path / "docs/findings.csv").write_text(NUMBERS)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def refused(project: Path) -> str:
    with pytest.raises(WorldwidthError) as error:
        check_reading(project)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_sound_reading_is_read(project: Path) -> None:
    reading = check_reading(project)
    assert reading
    assert (reading.comparison, len(reading.paragraphs)) == ("study", 2)
    assert reading.numbers == ["0.83", "0.05", f"{MINUS}0.25", "1.2e3"]
    first, second = reading.html.splitlines()
    assert first == (
        "<p><strong>Wider is better</strong> where models are trained: 0.83 \u00b1 0.05 "
        '(<a href="../../docs/study.md">all of it</a>, 5 seeds).</p>'
    )
    assert "<em>at 1.2e3 FLOPs</em>" in second
    assert '<a href="../../results/comparison/study/means.csv">tables</a>, &lt;x&gt;' in second


def test_without_a_marker_nothing_is_checked(project: Path) -> None:
    change(project / "docs/findings.md", "<!-- comparison: study -->\n", "")
    (project / "docs/findings.csv").unlink()
    assert check_reading(project) is None
    assert read_reading(project / "docs") is None


def test_no_link_of_a_report_leads_to_a_network(project: Path) -> None:
    change(project / "docs/findings.md", "(study.md)", "(https://example.org/x)")
    reading = read_reading(project)
    assert reading
    assert "example.org" not in reading.html
    assert "all of it" in reading.html


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("docs/findings.md", "0.83 ", "0.84 ", "docs/findings.md: 0.84 is not in docs/findings.csv"),
        ("docs/findings.csv", "1.2e3,runs,level=wide,flops\n", "", "1.2e3 is not in docs/findings.csv"),
        ("docs/findings.csv", "0.05,", "0.06,", "0.05 is not in docs/findings.csv"),
        ("docs/findings.csv", "1.2e3,", "0.77,runs,level=wide,flops\n1.2e3,", "0.77 is no number of In short"),
        ("results/comparison/study/means.csv", "0.8349", "0.8351", "found 0.83 in docs/findings.md, expected 0.84"),
        ("results/comparison/study/means.csv", "0.881", "0.9", "found 0.05 in docs/findings.md, expected 0.06"),
        ("results/comparison/study/means.csv", "-0.2451", "0.2451", f"found {MINUS}0.25 in docs/findings.md, expected"),
        ("results/comparison/study/runs.csv", "1234", "1334", "found 1.2e3 in docs/findings.md, expected 1.3e+03"),
        ("results/comparison/study/means.csv", "0.8349", "", "found '', which is no number"),
        ("docs/findings.csv", "1.2e3,runs", "1.2e3,run", "run.csv, level=wide, flops: there is no such table"),
        ("docs/findings.csv", "level=wide,flops", "arch=wide,flops", "no column 'arch'; there: level, flops"),
        ("docs/findings.csv", "level=wide,flops", "level=wide,flop", "no column 'flop'; there: level, flops, half"),
        ("docs/findings.csv", "level=wide,flops", "level=base,flops", "0 rows are so; it must be one"),
        (
            "docs/findings.csv",
            "number,table",
            "number,tables",
            "found columns number, tables, rows, column",
        ),
    ],
)
def test_whatever_differs_is_named(project: Path, file: str, old: str, new: str, said: str) -> None:
    """The number, its table, what was found and what was expected."""
    change(project / file, old, new)
    assert said in refused(project)


def test_a_list_of_numbers_must_be_there(project: Path) -> None:
    (project / "docs/findings.csv").unlink()
    assert "docs/findings.csv: not found" in refused(project)


def test_the_readme_says_the_same(project: Path) -> None:
    """Links may differ, and where lines end."""
    answer = "Wider is better where models are trained: 0.83 \u00b1\n0.05 ([all of it](docs/study.md), 5 seeds)."
    readme = project / "README.md"
    readme.write_text("# worldwidth\n\nNo marker: not looked at.\n")
    check_reading(project)
    readme.write_text(f"# worldwidth\n\n<!-- answer -->\n**{answer[:15]}**{answer[15:]}\n\nMore.\n")
    check_reading(project)
    change(readme, "0.83", "0.93")
    assert "README.md: below <!-- answer --> found" in refused(project)
    assert "0.93" in refused(project)
