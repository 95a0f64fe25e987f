"""The report's sentences on the answer, the seeds and compute, each computed from the comparison."""

from dataclasses import dataclass
from typing import Any

from worldwidth.comparison.runs import BASE, RETENTION, SKILL
from worldwidth.comparison.tables import Comparison
from worldwidth.evaluation.scores import matrix_of
from worldwidth.report.format import MINUS, TIMES, count, in_prose, is_number, listed, number, plural, records, times
from worldwidth.report.tables import archs_of, compute_means, direction

BUDGETS = {
    "epochs": "the published epochs",
    "tokens": "equal pre-training tokens",
    "flops": "equal pre-training FLOPs",
}
_EQUAL = 1.02
"""Counts whose ratio is below this are called equal: a budget is met in whole steps."""


@dataclass(frozen=True)
class Answer:
    """What one budget's runs say, and what to keep in mind when reading it."""

    condition: str
    """On which compute the widths are compared: ``At equal pre-training tokens``."""
    text: str
    caveat: str


@dataclass(frozen=True)
class _Effect:
    """A headline metric's change with width."""

    label: str
    size: float
    n: int
    verdict: str
    bound: float | None
    """The farthest that its interval reaches from 0."""


def answers(comparison: Comparison) -> list[Answer]:
    """One sentence for each budget, from the verdicts on the trends, or on the ends where there is no trend."""
    return [
        Answer(f"At {BUDGETS[budget]}", _answer(comparison, budget), _caveat(comparison, budget))
        for budget in comparison.budgets
    ]


def _answer(comparison: Comparison, budget: str) -> str:
    archs = archs_of(comparison, budget)
    if len(archs) == 1:
        return f"there is one width ({archs[0]}): nothing to compare yet."
    effects, by = _effects(comparison, budget)
    if not effects:
        return f"{listed(archs)} have no seed in common: nothing can be compared pair by pair."
    moves = [_moves(effects, 1, "a rise"), _moves(effects, -1, "a fall")]
    rest = _reasons([effect for effect in effects if not direction(effect.verdict)])
    if not any(moves):
        pairs = _told_pairs(comparison, budget)
        if pairs:
            return f"some widths are told apart: {pairs}; a straight-line trend over all widths is not told from none."
        return _untold(effects) if len(rest) == 1 else f"{'; '.join(_open(rest))}."
    return "; ".join([f"{by} comes with {listed(filter(None, moves))}", *_open(rest)]) + "."


def terms(comparison: Comparison) -> str:
    """What the names in the answer mean."""
    finetunes = comparison.settings.finetunes
    names = {matrix_of(model): len(trained) for model, trained in finetunes.items()}
    models = listed(f"{name.upper()} in {plural(n, 'task')}" for name, n in names.items())
    pairs = f" Pairs {MINUS} expected: how much better than the better single-task model."
    return (
        f"Fine-tuned on Atlantis: {models}. Trained: scores in those tasks; transfer: in the others. A score of 0 is "
        f"as the base model on Atlantis, 1 as it is on ordinary cities.{pairs if max(names.values()) > 1 else ''}"
    )


def _effects(comparison: Comparison, budget: str) -> tuple[list[_Effect], str]:
    """Changes in how Atlantis is taken in, and what they go with: a doubling, or the step between the ends."""
    archs = archs_of(comparison, budget)
    trends = records(comparison.trends, budget=budget)
    rows = trends or records(comparison.differences, budget=budget, arch=archs[0], other=archs[-1])
    ends = f"from {archs[0]} to {archs[-1]}"
    by = f"each doubling of the width {ends}" if trends else f"going {ends}"
    shown = [row for row in rows if comparison.metrics[row["metric"]].matrix not in (RETENTION, SKILL, BASE)]
    return [_effect(comparison, row) for row in shown], by


def _told_pairs(comparison: Comparison, budget: str) -> str:
    """How Atlantis is taken in differently by two widths: the largest difference that is told, for each metric."""
    largest: dict[str, dict[str, Any]] = {}
    for row in records(comparison.differences, budget=budget):
        metric = comparison.metrics[row["metric"]]
        if metric.matrix not in (RETENTION, SKILL, BASE) and direction(row["verdict"]):
            known = largest.setdefault(in_prose(metric.label), row)
            largest[in_prose(metric.label)] = max(known, row, key=lambda found: abs(float(found["mean"])))
    return listed(
        f"{row['other']} {MINUS} {row['arch']} is {number(row['mean'], 2, sign=True)} in {label}"
        for label, row in largest.items()
    )


def _effect(comparison: Comparison, row: dict[str, Any]) -> _Effect:
    reach = [abs(row[end]) for end in ("low", "high") if is_number(row[end])]
    return _Effect(
        label=in_prose(comparison.metrics[row["metric"]].label),
        size=row["slope"] if "slope" in row else row["mean"],
        n=row["n"],
        verdict=row["verdict"],
        bound=max(reach, default=None),
    )


def _moves(effects: list[_Effect], way: int, word: str) -> str:
    moved = [effect for effect in effects if direction(effect.verdict) == way]
    sizes = listed(f"{number(abs(effect.size))} in {effect.label}" for effect in moved)
    return f"{word} of {sizes}" if moved else ""


def _reasons(effects: list[_Effect]) -> dict[str, list[str]]:
    """Why nothing is told -> the labels for which that is so."""
    found: dict[str, list[str]] = {}
    for effect in effects:
        found.setdefault(_reason(effect), []).append(effect.label)
    return found


def _reason(effect: _Effect) -> str:
    if effect.n == 0:
        return "nothing is measurable"
    if effect.verdict.startswith("no difference"):
        return "no effect is told apart from none"
    return f"{plural(effect.n, 'seed')} {'does' if effect.n == 1 else 'do'} not suffice to tell"


def _open(reasons: dict[str, list[str]]) -> list[str]:
    return [f"for {listed(labels)} {reason}" for reason, labels in reasons.items()]


def _untold(effects: list[_Effect]) -> str:
    """The sentence where nothing is told, and for one reason."""
    measures = f"in any of the {count(len(effects))} measures of how Atlantis is taken in"
    first = effects[0]
    if first.n == 0:
        return f"nothing is measurable {measures}."
    if first.n == 1:
        return f"one seed cannot tell whether width matters {measures}: how seeds scatter is unknown."
    if first.verdict.startswith("no difference"):
        bound = max(effect.bound for effect in effects if effect.bound is not None)
        return f"no effect of width is told apart from none {measures}; the intervals reach {number(bound)} at most."
    return f"{first.n} seeds do not suffice to tell whether width matters {measures}."


def _caveat(comparison: Comparison, budget: str) -> str:
    means = compute_means(comparison, budget)
    if len(means) == 1:
        return ""
    before, after = (_ratio(means, column) for column in ("flops", "finetuning_flops"))
    if before < _EQUAL and after < _EQUAL:
        return "Pre-training and fine-tuning FLOPs are the same for every width."
    if before < _EQUAL:
        return f"Pre-training FLOPs are the same for every width; fine-tuning FLOPs differ by up to {times(after)}."
    return (
        f"Compute is not constant here: pre-training FLOPs differ by up to {times(before)} between widths, "
        f"fine-tuning FLOPs by up to {times(after)}."
    )


def _ratio(means: dict[str, dict[str, float]], column: str) -> float:
    values = [of[column] for of in means.values()]
    return max(values) / min(values)


def compute_text(comparison: Comparison, budget: str) -> list[str]:
    """What the budget holds constant, judged by the counts."""
    means = compute_means(comparison, budget)
    if len(means) == 1:
        return ["One width: there is nothing to hold constant."]
    text = [_RULES[budget](means, comparison.settings.reference)]
    after, steps = _ratio(means, "finetuning_flops"), [of["finetuning_steps"] for of in means.values()]
    if after < _EQUAL:
        return [*text, "Fine-tuning FLOPs are the same for every width."]
    same = f"every width makes the same {count(steps[0])} steps" if max(steps) == min(steps) else "the steps differ"
    return [*text, f"Fine-tuning is not equalised: {same}, so that its FLOPs differ by up to {times(after)}."]


def _published(means: dict[str, dict[str, float]], reference: str) -> str:
    by_product: dict[float, list[str]] = {}
    for arch, of in means.items():
        by_product.setdefault(of["hidden_size"] * of["epochs"], []).append(arch)
    products = listed(f"{count(product)} for {listed(archs)}" for product, archs in by_product.items())
    rule = f"The published rule keeps width {TIMES} epochs constant: it is {products}."
    ratio = _ratio(means, "flops")
    if ratio < _EQUAL:
        return f"{rule} FLOPs are the same for every width."
    return f"{rule} That does not hold compute constant: {_most_and_least(means, 'flops', 'FLOPs')}."


def _equal_tokens(means: dict[str, dict[str, float]], reference: str) -> str:
    equalised = _equalised(means, "tokens", f"tokens of {reference}")
    return f"{equalised} FLOPs then grow with the parameters: {_most_and_least(means, 'flops', 'FLOPs')}."


def _equal_flops(means: dict[str, dict[str, float]], reference: str) -> str:
    equalised = _equalised(means, "flops", f"pre-training FLOPs of {reference}")
    return f"{equalised} Narrow widths see more tokens for them: {_most_and_least(means, 'tokens', 'tokens')}."


_RULES = {"epochs": _published, "tokens": _equal_tokens, "flops": _equal_flops}


def _equalised(means: dict[str, dict[str, float]], column: str, what: str) -> str:
    percent = 100 * (_ratio(means, column) - 1)
    apart = "less than 0.01 %" if 0 < percent < 0.01 else f"{percent:.2g} % at most"
    return f"Every width gets the {what}: the counts differ by {apart}."


def _most_and_least(means: dict[str, dict[str, float]], column: str, what: str) -> str:
    most, least = (choose(means, key=lambda arch: means[arch][column]) for choose in (max, min))
    return f"{most} gets {times(_ratio(means, column))} the {what} of {least}"


def seeds_text(comparison: Comparison) -> str:
    """How many seeds there are."""
    ns = sorted({len(records(comparison.runs, budget=b, arch=a)) for b in comparison.budgets for a in comparison.archs})
    ns = [n for n in ns if n]
    return plural(ns[0], "seed") if len(ns) == 1 else f"{ns[0]} to {ns[-1]} seeds"
