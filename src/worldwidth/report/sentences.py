"""What the report says in words: one headline sentence for each arm, its caveat, and what bounds it all."""

from collections import Counter
from typing import Any

from worldwidth.comparison.axes import ARCH
from worldwidth.comparison.runs import BASE, LOG_SKILL, RETENTION, SKILL, over_control
from worldwidth.comparison.statistics import ALPHA, direction
from worldwidth.comparison.tables import Comparison, records
from worldwidth.core.text import count, listed, number, plural, times
from worldwidth.evaluation.scores import CONTROL, control_of, matrix_of
from worldwidth.report.tables import compute_means, in_prose
from worldwidth.settings.schema import finetuned, is_plug_in


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


def headline(comparison: Comparison, arm: str) -> str:
    """How many measures of how Atlantis is taken in change significantly: per doubling, or between two ends."""
    levels = comparison.levels(arm)
    if len(levels) == 1:
        return f"there is one {levels_noun(comparison, 1)} ({levels[0]}): nothing to compare yet."
    trends = _measures(comparison, records(comparison.trends, arm=arm))
    differences = _measures(comparison, records(comparison.differences, arm=arm))
    rows = trends or [row for row in differences if (row["level"], row["other"]) == (levels[0], levels[-1])]
    if not rows:
        return f"{listed(levels)} have no seed in common: nothing can be compared pair by pair."
    found = [
        f"{in_prose(comparison.metrics[row['metric']].label)} {number(row['slope' if trends else 'mean'], sign=True)}"
        for row in rows
        if direction(row["verdict"])
    ]
    ends = rows[0]["levels"].split(" ") if trends else levels
    by = f"{f'each doubling of {doubled(comparison)}' if trends else 'going'} from {ends[0]} to {ends[-1]}"
    share = f"{len(found) or 'none'} of the {len(rows)} measures of how Atlantis is taken in"
    parts = [f"{by} changes {share} significantly{f' ({listed(found)})' if found else ''}"]
    rest = Counter(row["verdict"].partition(";")[0] for row in rows if not direction(row["verdict"]))
    parts += [f"{verdict}: {n}" for verdict, n in rest.items()]
    if trends:
        significant = sum(direction(row["verdict"]) != 0 for row in differences)
        pairs = f"differences of two {levels_noun(comparison)}"
        parts.append(f"of the {len(differences)} {pairs}, {significant or 'none'} are significant")
    if over := _over_control(comparison, arm):
        parts.append(over)
    return f"{'; '.join(parts)}."


def doubled(comparison: Comparison) -> str:
    """What a trend is per doubling of."""
    return "the width" if comparison.axis.key == ARCH else comparison.axis.key


def _over_control(comparison: Comparison, arm: str) -> str:
    """What transfer is above the model of no task, at every level; empty where there is no such model."""
    name = next((name for name in comparison.metrics if name.endswith("_minus_control")), "")
    rows = [row for row in records(comparison.means, arm=arm, metric=name) if row["n"]]
    if not rows:
        return ""
    values = listed(f"{number(row['mean'], 2, sign=True)} ({row['level']})" for row in rows)
    return f"{in_prose(comparison.metrics[name].label)} is {values}"


def _measures(comparison: Comparison, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of metrics that say how Atlantis is taken in."""
    others = {RETENTION, BASE, CONTROL, SKILL, LOG_SKILL, over_control(SKILL), over_control(LOG_SKILL)}
    return [row for row in rows if comparison.metrics[row["metric"]].matrix not in others]


def terms(comparison: Comparison) -> str:
    """What the names in the headline mean."""
    finetunes = comparison.settings.finetunes
    names = {matrix_of(model): len(finetunes[model]) for model in finetuned(comparison.settings) if finetunes[model]}
    models = listed(f"{name.upper()} in {plural(n, 'task')}" for name, n in names.items())
    more = [
        " Pairs \N{MINUS SIGN} expected: how much better than the better single-task model."
        * (max(names.values(), default=0) > 1),
        " Control: the same model fine-tuned on no task, but on the warm-up lines that all have."
        * bool(control_of(finetunes)),
        " Plug-in: only the embeddings of the new cities are learned, on a frozen base model."
        * any(map(is_plug_in, finetunes)),
    ]
    return (
        f"Fine-tuned on Atlantis: {models}. Trained: scores in those tasks; transfer: in the others. A score of 0 is "
        f"as the base model on Atlantis, 1 as it is on ordinary cities.{''.join(more)}"
    )


def compute_caveat(comparison: Comparison, arm: str) -> str:
    """How far the levels are from equal compute."""
    means = compute_means(comparison, arm).values()
    if len(means) == 1:
        return ""
    columns = {"tokens": "pre-training tokens", "flops": "pre-training FLOPs", "finetuning_flops": "fine-tuning FLOPs"}
    values = {what: [of[column] for of in means] for column, what in columns.items()}
    ratios = listed(f"{what} {times(max(v) / min(v))}" for what, v in values.items())
    return f"Largest ratio between two {levels_noun(comparison)}: {ratios}."


def limits(comparison: Comparison) -> list[str]:
    """What bounds every comparison of this kind, with the numbers that show how far."""
    risk = f"{100 * ALPHA:.0f} %"
    return [
        "Not significant does not mean equal: the bound beside it says which differences are excluded.",
        "One metric and contrast decide, if they were declared before the runs; whatever else is significant is a "
        "hypothesis for other runs.",
        f"Holm holds the chance of a significant difference that is not there at {risk} within a family of tests (the "
        "pairs of one metric, the trends of one arm), not over all families together; Student's t takes the "
        "seeds to scatter normally, which so few cannot show.",
        "Normalised improvement is relative to each run's own base model: the better that is on ordinary cities, "
        "the more 1 asks for. So the Atlantis skills and the base model's skill, which know no base model, stand "
        f"beside it{_by_level(comparison, 'base_skill', 'the skill of the base models is')}",
        "Transfer is to be read against the best constant answer, which earns a positive score where the base model "
        "is worse than it; on the scale of skill it is 0"
        f"{_by_level(comparison, 'skill_transfer', 'the skill in tasks not trained is')}",
        *_control_limit(comparison),
        *_recipe_limit(comparison),
        _world_limit(comparison),
        *_scale_limit(comparison),
    ]


def _control_limit(comparison: Comparison) -> list[str]:
    if control_of(comparison.settings.finetunes):
        found = _by_level(comparison, "control", "the control's score is")
        return [f"What the warm-up lines alone give is no transfer; it is taken off where control stands{found}"]
    return ["There is no model of no task: what the warm-up lines alone give is part of transfer."]


def _recipe_limit(comparison: Comparison) -> list[str]:
    """What optimisation the archs share, or each has for itself."""
    said = {}
    for arch in comparison.archs:
        before, after = comparison.of_archs[arch].pretraining, comparison.of_archs[arch].finetuning
        said[arch] = (
            f"{before.optimizer}, {before.learning_rate:g} in pre-training; "
            f"{after.optimizer}, {after.learning_rate:g} in fine-tuning"
        )
    varied = [axis.key for axis in (*comparison.design.by, *comparison.design.within) if "learning_rate" in axis.key]
    if len(said) < 2 or varied:
        return []
    if len(set(said.values())) > 1:
        own = listed(f"{recipe} ({arch})" for arch, recipe in said.items())
        return [f"Archs have optimisers or learning rates of their own: {own}."]
    return [
        "Hyper-parameters are not tuned for each arch: all share one optimiser, learning rate and initialisation "
        f"({next(iter(said.values()))})."
    ]


def _world_limit(comparison: Comparison) -> str:
    world, draws = comparison.settings.selected.world, comparison.runs["atlantis_seed"].nunique()
    if draws == 1:
        return (
            f"It is one world (seed {world.seed}), with one set of Atlantis cities and one set of test lines: "
            "seeds say nothing about other worlds."
        )
    return (
        f"It is one world of ordinary cities (seed {world.seed}) with {draws} draws of Atlantis, a seed and a draw to "
        "every run: the intervals are over both, and say nothing about other ordinary cities."
    )


def _scale_limit(comparison: Comparison) -> list[str]:
    if comparison.settings.scale == "paper":
        return []
    scale = comparison.settings.selected
    archs = [comparison.of_archs[arch].sizes for arch in comparison.archs]
    widths = listed(count(arch.hidden_size) for arch in archs)
    depths = listed((str(depth) for depth in sorted({arch.num_hidden_layers for arch in archs})), "or")
    layers = f"{depths} {'layer' if depths == '1' else 'layers'}"
    return [
        f"Scale {comparison.settings.scale} is not the published one: {count(scale.world.cities)} ordinary cities, "
        f"{layers}, hidden size {widths}. What holds here need not hold there."
    ]


def _by_level(comparison: Comparison, metric: str, what: str) -> str:
    """The metric at every level; the end of the sentence alone where there is no such metric."""
    parts = []
    for arm in comparison.arms:
        rows = records(comparison.means, arm=arm, metric=metric)
        values = listed(f"{number(row['mean'], 2)} ({row['level']})" for row in rows)
        parts.append(f"{values} under {arm}" if len(comparison.arms) > 1 else values)
    return f": {what} {'; '.join(parts)}." if metric in comparison.metrics else "."
