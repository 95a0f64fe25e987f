"""Evaluate one model on all test sets in one process: `dvc repro evaluate@base`, `dvc repro evaluate@ftwb2-12`."""

from worldwidth.checkpoints import load_model
from worldwidth.evaluation import evaluate, save_evaluation
from worldwidth.hardware import prepare
from worldwidth.layout import MODELS, stage_of
from worldwidth.matrix import Matrix
from worldwidth.stage import known_model, run_stage
from worldwidth.stored_corpus import StoredCorpus


def main(matrix: Matrix, name: str) -> None:
    """params: evaluation, world; models/NAME, corpora -> results/evaluations/NAME.json, results/scores/NAME.npz"""
    scale = matrix.selected
    device = prepare(scale.hardware)
    remedy = f"run `dvc repro {stage_of(known_model(matrix, name))}`"
    model = load_model(MODELS / name, remedy).to(device)
    corpora = {task: StoredCorpus(task) for task in matrix.tasks}
    report, scores = evaluate(model, corpora, scale)
    save_evaluation(name, report, scores)
    print(f"{name}: exact answers in {report['multitask']['exact_match']:.1%} of the multi-task lines")


if __name__ == "__main__":
    run_stage(main, "NAME")
