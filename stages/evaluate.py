"""Evaluate one model on all test sets in one process: `dvc repro evaluate@base`, `dvc repro evaluate@ftwb2-12`."""

from worldwidth.entry import run_stage

from worldwidth.evaluation import evaluate_and_save
from worldwidth.matrix import Matrix
from worldwidth.stage import known_model
from worldwidth.stored_corpus import StoredCorpus


def main(matrix: Matrix, name: str) -> None:
    """params: evaluation, world; models/NAME, corpora -> results/evaluations/NAME.json, results/scores/NAME.npz"""
    evaluate_and_save(matrix, known_model(matrix, name), {task: StoredCorpus(task) for task in matrix.tasks})


if __name__ == "__main__":
    run_stage(main, "NAME")
