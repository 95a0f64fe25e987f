"""One name for one quantity, and the glossary explains each.

pytest tests/test_labels.py
"""

import re
from pathlib import Path

from worldwidth.comparison import labels
from worldwidth.comparison.efficiency import COSTS
from worldwidth.comparison.metrics import metrics_of
from worldwidth.core.text import MINUS
from worldwidth.plots.heatmap import SCORE, SIGNED
from worldwidth.settings.load import load

ROOT = Path(__file__).parents[1]


def explained() -> set[str]:
    """The terms of docs/glossary.md."""
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs/glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {term.strip(' "') for row in rows for term in re.split(r"[,;]", row)}


def test_the_glossary_has_every_label() -> None:
    assert set(labels.LABELS) <= explained()
    own = {value for name, value in vars(labels).items() if name.isupper() and isinstance(value, str)} - {MINUS}
    assert own == set(labels.LABELS)


def test_metrics_and_scales_are_called_by_them() -> None:
    """But for which models it is about: ``FTWB1``, ``plug-in (1 task)``."""
    metrics = metrics_of(load(ROOT / "params.yaml"))
    assert len({metric.label for metric in metrics.values()}) == len(metrics)
    whose = re.compile(r"FTWB\d|plug-in \(\d tasks?\)")
    for metric in metrics.values():
        rest = whose.sub("", metric.label).strip()
        for part in (labels.LOG_SKILL, labels.BASE_SKILL, *labels.LABELS, MINUS):
            rest = rest.replace(part, "").strip()
        assert not rest, metric.label
    assert {SCORE.label, SIGNED.label, *COSTS.values()} <= set(labels.LABELS)
