"""What the report says in words: one headline sentence for each budget, its caveat, and what bounds it all."""

from collections import Counter
from typing import Any

from worldwidth.comparison.runs import BASE, RETENTION, SKILL
from worldwidth.comparison.statistics import ALPHA, direction
from worldwidth.comparison.tables import Comparison, archs_of, records
from worldwidth.core.text import count, listed, number, plural, times
from worldwidth.evaluation.scores import matrix_of
from worldwidth.report.tables import compute_means, in_prose


def headline(comparison: Comparison, budget: str) -> str:
    """How many measures of how Atlantis is taken in change significantly: per doubling, or between two ends."""
    archs = archs_of(comparison, budget)
    if len(archs) == 1:
        return f"there is one width ({archs[0]}): nothing to compare yet."
    trends = _measures(comparison, records(comparison.trends, budget=budget))
    differences = _measures(comparison, records(comparison.differences, budget=budget))
    rows = trends or [row for row in differences if (row["arch"], row["other"]) == (archs[0], archs[-1])]
    if not rows:
        return f"{listed(archs)} have no seed in common: nothing can be compared pair by pair."
    found = [
        f"{in_prose(comparison.metrics[row['metric']].label)} {number(row['slope' if trends else 'mean'], sign=True)}"
        for row in rows
        if direction(row["verdict"])
    ]
    by = f"{'each doubling of the width' if trends else 'going'} from {archs[0]} to {archs[-1]}"
    share = f"{len(found) or 'none'} of the {len(rows)} measures of how Atlantis is taken in"
    parts = [f"{by} changes {share} significantly{f' ({listed(found)})' if found else ''}"]
    rest = Counter(row["verdict"] for row in rows if not direction(row["verdict"]))
    parts += [f"{verdict}: {n}" for verdict, n in rest.items()]
    if trends:
        significant = sum(direction(row["verdict"]) != 0 for row in differences)
        parts.append(f"of the {len(differences)} differences of two widths, {significant or 'none'} are significant")
    return f"{'; '.join(parts)}."


def _measures(comparison: Comparison, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of metrics that say how Atlantis is taken in."""
    return [row for row in rows if comparison.metrics[row["metric"]].matrix not in (RETENTION, SKILL, BASE)]


def terms(comparison: Comparison) -> str:
    """What the names in the headline mean."""
    finetunes = comparison.settings.finetunes
    names = {matrix_of(model): len(trained) for model, trained in finetunes.items()}
    models = listed(f"{name.upper()} in {plural(n, 'task')}" for name, n in names.items())
    pairs = " Pairs \N{MINUS SIGN} expected: how much better than the better single-task model."
    return (
        f"Fine-tuned on Atlantis: {models}. Trained: scores in those tasks; transfer: in the others. A score of 0 is "
        f"as the base model on Atlantis, 1 as it is on ordinary cities.{pairs if max(names.values()) > 1 else ''}"
    )


def compute_caveat(comparison: Comparison, budget: str) -> str:
    """How far the widths are from equal compute."""
    means = compute_means(comparison, budget).values()
    if len(means) == 1:
        return ""
    columns = {"tokens": "pre-training tokens", "flops": "pre-training FLOPs", "finetuning_flops": "fine-tuning FLOPs"}
    values = {what: [of[column] for of in means] for column, what in columns.items()}
    return (
        f"Largest ratio between two widths: {listed(f'{what} {times(max(v) / min(v))}' for what, v in values.items())}."
    )


def limits(comparison: Comparison) -> list[str]:
    """What bounds every comparison of this kind, with the numbers that show how far."""
    scale = comparison.settings.selected
    before, after = scale.pretraining, scale.finetuning
    risk = f"{100 * ALPHA:.0f} %"
    return [
        "Not significant does not mean equal: the intervals say how large a difference would still fit.",
        f"Holm holds the chance of a significant difference that is not there at {risk} within a family of tests (the "
        "pairs of one metric, the trends of one budget), not over all families together; Student's t takes the "
        "seeds to scatter normally, which so few cannot show.",
        "Normalised improvement is relative to each width's own base model: the better that is on ordinary cities, "
        "the more 1 asks for. So the Atlantis skills and the base model's skill, which know no base model, stand "
        f"beside it{_by_width(comparison, 'base_skill', 'the skill of the base models is')}",
        "Transfer is to be read against the best constant answer, which earns a positive score where the base model "
        "is worse than it; on the scale of skill it is 0"
        f"{_by_width(comparison, 'skill_transfer', 'the skill in tasks not trained is')}",
        "Hyper-parameters are not tuned for each width: all share one optimiser, learning rate and initialisation "
        f"({before.optimizer}, {before.learning_rate:g} in pre-training; "
        f"{after.optimizer}, {after.learning_rate:g} in fine-tuning).",
        f"It is one world (seed {scale.world.seed}), with one set of Atlantis cities and one set of test lines: "
        "seeds say nothing about other worlds.",
        *_scale_limit(comparison),
    ]


def _scale_limit(comparison: Comparison) -> list[str]:
    if comparison.settings.scale == "paper":
        return []
    scale = comparison.settings.selected
    widths = listed(count(scale.archs[arch].hidden_size) for arch in comparison.archs)
    return [
        f"Scale {comparison.settings.scale} is not the published one: {count(scale.world.cities)} ordinary cities, "
        f"{plural(scale.model.num_hidden_layers, 'layer')}, hidden size {widths}. What holds here need not hold there."
    ]


def _by_width(comparison: Comparison, metric: str, what: str) -> str:
    parts = []
    for budget in comparison.budgets:
        rows = records(comparison.widths, budget=budget, metric=metric)
        values = listed(f"{number(row['mean'], 2)} ({row['arch']})" for row in rows)
        parts.append(f"{values} under {budget}" if len(comparison.budgets) > 1 else values)
    return f": {what} {'; '.join(parts)}."
