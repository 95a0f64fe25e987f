"""Evaluate one model on all test sets in one process: `dvc repro evaluate@base`, `dvc repro evaluate@ftwb2-12`."""

from worldwidth.engine.stage_main import run_stage

from worldwidth.data.corpus import StoredCorpus
from worldwidth.evaluation.evaluate import evaluate_and_save
from worldwidth.settings.names import known_model
from worldwidth.settings.schema import Settings


def main(settings: Settings, name: str) -> None:
    """params: evaluation, world; models/NAME, corpora -> results/evaluations/NAME.json, results/scores/NAME.npz"""
    evaluate_and_save(settings, known_model(settings, name), {task: StoredCorpus(task) for task in settings.tasks})


if __name__ == "__main__":
    run_stage(main, "NAME")
