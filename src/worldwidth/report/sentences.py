"""What the report says in words: a headline with its confound, where nobody has written one, and what bounds it."""

import math
from typing import Any

from worldwidth.comparison.axes import ARCH
from worldwidth.comparison.labels import FINETUNING_FLOPS, PRETRAINING_FLOPS
from worldwidth.comparison.primary_text import contrasts
from worldwidth.comparison.statistics import ALPHA
from worldwidth.comparison.tables import Comparison, records
from worldwidth.core.text import count, is_number, listed, number, plus_minus, times
from worldwidth.evaluation.scores import control_of

TRAINED, OTHER, OVER = "skill_trained", "skill_transfer", "skill_transfer_minus_control"
"""The metrics of the first screen."""


def asked_about(comparison: Comparison) -> str:
    """What may change how Atlantis is taken in."""
    noun = comparison.axis.noun
    return {"width": "the width", "architecture": "the architecture"}.get(noun, noun)


def levels_noun(comparison: Comparison, n: int = 2) -> str:
    """What ``n`` levels are called."""
    noun = comparison.axis.noun
    if comparison.axis.key == ARCH:
        return noun if n == 1 else f"{noun}s"
    return f"value{'' if n == 1 else 's'} of {noun}"


def arm_titles(comparison: Comparison) -> dict[str, str]:
    """Arm -> what tells it from the others; empty where there is one."""
    parts = {arm: arm.split(", ") for arm in comparison.arms}
    shared = set.intersection(*map(set, parts.values()))
    titles = {arm: ", ".join(part for part in own if part not in shared) for arm, own in parts.items()}
    if len(titles) == 1:
        return dict.fromkeys(titles, "")
    return {arm: title.replace("_", " ") or "default" for arm, title in titles.items()}


def headline(comparison: Comparison) -> tuple[str, list[str]]:
    """What came out, in a sentence; and what has to be known beside it: transfer and control, compute, other arms."""
    first, *others = comparison.arms
    levels = comparison.levels(first)
    if len(levels) == 1:
        return f"There is one {levels_noun(comparison, 1)} ({levels[0]}): nothing to compare yet.", []
    change = _change(comparison, first)
    if change is None:
        return f"{listed(levels)} have no seed in common: nothing can be compared pair by pair.", []
    label, ends = comparison.metrics[change["metric"]].label, f"from {change['level']} to {change['other']}"
    said = f"{label[:1].upper()}{label[1:]}: {_sized(change)} {ends}; {_judged(change)}."
    titles = arm_titles(comparison)
    rest = [f"{titles[arm]}: {_sized(row)}, {_judged(row)}" for arm in others if (row := _change(comparison, arm))]
    also = [f"The same with {'; '.join(rest)}."] if rest else []
    return said, [*_transfer(comparison, first, levels), compute_caveat(comparison, first), *also]


def _change(comparison: Comparison, arm: str) -> dict[str, Any] | None:
    """The declared contrast of an arm, or else the difference of its ends in the first trained metric."""
    for row in contrasts(comparison):
        if row["arm"] == arm:
            return row
    name = TRAINED if TRAINED in comparison.metrics else next(iter(comparison.metrics))
    levels = comparison.levels(arm)
    rows = records(comparison.differences, arm=arm, metric=name, level=levels[0], other=levels[-1])
    return rows[0] if rows else None


def _sized(row: dict[str, Any]) -> str:
    return plus_minus(row["mean"], row["low"], row["high"], sign=True)


def _judged(row: dict[str, Any]) -> str:
    return str(row["verdict"]).partition(";")[0].partition(":")[0]


def _transfer(comparison: Comparison, arm: str, levels: list[str]) -> list[str]:
    """The skill in tasks not trained, and what the control has there."""
    ends = [levels[0], levels[-1]]
    means = {
        (row["level"], row["metric"]): row["mean"] for row in records(comparison.means, arm=arm) if row["level"] in ends
    }
    skills = [means.get((level, OTHER), math.nan) for level in ends]
    if not all(map(is_number, skills)):
        return []
    said = " and ".join(f"{number(value, 2)} ({level})" for level, value in zip(ends, skills, strict=True))
    text = f"In tasks not trained the skill is {said}; the best constant answer has 0"
    over = [means.get((level, OVER), math.nan) for level in ends]
    if all(map(is_number, over)):
        of_control = listed(number(value - above, 2) for value, above in zip(skills, over, strict=True))
        return [f"{text}, the control, fine-tuned on no task, {of_control}."]
    return [f"{text}. There is no control: what the warm-up lines alone give is part of it."]


def compute_caveat(comparison: Comparison, arm: str) -> str:
    """How far the levels are from equal compute and equal rates."""
    runs = comparison.runs[comparison.runs["arm"] == arm].groupby("level")[["flops", "finetuning_flops"]].mean()
    columns = {"flops": PRETRAINING_FLOPS, "finetuning_flops": FINETUNING_FLOPS}
    spent = {what: (runs[column].max(), runs[column].min()) for column, what in columns.items() if runs[column].any()}
    unequal = [f"{what} (up to {times(most, least)})" for what, (most, least) in spent.items() if most > 1.01 * least]
    held = [what for what, (most, least) in spent.items() if most <= 1.01 * least]
    parts = [f"not held constant: {listed(unequal)}"] if unequal else []
    parts += [f"equal: {listed(held)}"] if held else []
    parts += _rates(comparison)
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def _rates(comparison: Comparison) -> list[str]:
    """Whether the archs share one rate of fine-tuning, where no rate is compared."""
    varied = [axis.key for axis in (*comparison.design.by, *comparison.design.within)]
    rates = {settings.finetuning.learning_rate for settings in comparison.of_archs.values()}
    if len(comparison.archs) < 2 or any("learning_rate" in key or key == "recipe" for key in varied):
        return []
    return ["learning rates are each arch's own" if len(rates) > 1 else "one learning rate for all"]


def limits(comparison: Comparison) -> list[str]:
    """What bounds every comparison of this kind."""
    settings, draws = comparison.settings, comparison.runs["atlantis_seed"].nunique()
    scale = settings.selected
    control = control_of(settings.finetunes)
    lines = [
        "Not significant does not mean equal: the bound beside it says which differences are excluded (two one-sided "
        "tests at 5 %).",
        "One metric and contrast decide, if they were declared before the runs. All else is exploratory: Holm holds "
        f"{100 * ALPHA:.0f} % within the pairs of one metric, or the trends of one arm, and not over all of them.",
        "Normalised improvement is relative to each run's own base model; skill is not.",
        "Transfer is to be read above the control."
        if control
        else "There is no model of no task: what the warm-up lines alone give is part of transfer.",
        f"One world of ordinary cities (seed {scale.world.seed}); "
        + (f"{draws} draws of Atlantis, a seed and a draw to every run." if draws > 1 else "one draw of Atlantis."),
    ]
    if settings.scale != "paper":
        lines.append(
            f"Scale {settings.scale} is not the published one: {count(scale.world.cities)} ordinary cities; what holds "
            "here need not hold there."
        )
    return lines
