"""Answer test sets with transformers: `python benchmarks/generate_answers.py MODEL_FOLDER OUT.json SET.json ...`

The published study ran such a script once for every test set, a process each. A set is what ``Questions`` holds;
OUT.json gets every set's answers and scores, and the seconds that these took once the model was loaded.
"""

import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

_BATCH = 512


@dataclass(frozen=True)
class Questions:
    """n test lines as text."""

    name: str
    prompts: list[str]
    """What stands up to and with '='."""
    answers: list[str]
    """The true answers."""
    failures: list[float | None]
    """Of every line: the error at which a number is capped; None where the answer is a label."""
    max_new_tokens: int


@torch.inference_mode()
def _answers(model: Any, tokenizer: Any, test_set: Questions) -> list[str]:
    answers: list[str] = []
    for start in range(0, len(test_set.prompts), _BATCH):
        prompts = tokenizer(test_set.prompts[start : start + _BATCH], padding=True, return_tensors="pt")
        tokens = model.generate(**prompts, max_new_tokens=test_set.max_new_tokens, do_sample=False)
        answers += tokenizer.batch_decode(tokens[:, prompts["input_ids"].shape[1] :], skip_special_tokens=True)
    return answers


def _score(given: str, truth: str, failure: float | None) -> float:
    """1 or 0 for a label, else the error."""
    if failure is None:
        return float(given == truth)
    digits = re.match(r"\d+", given)
    return min(abs(float(digits.group()) - float(truth)), failure) if digits else failure


def main(folder: Path, output: Path, sets: list[Path]) -> None:
    """Load, answer, score, write."""
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    started = time.perf_counter()
    results: dict[str, Any] = {}
    for path in sets:
        test_set = Questions(**json.loads(path.read_text(encoding="utf-8")))
        given = _answers(model, tokenizer, test_set)
        lines = list(zip(given, test_set.answers, test_set.failures, strict=True))
        results[test_set.name] = {
            "answers": given,
            "scores": [_score(*line) for line in lines],
            "exact_match": sum(answer == truth for answer, truth, _ in lines) / len(lines),
        }
    seconds = time.perf_counter() - started
    output.write_text(json.dumps({"seconds": seconds, "sets": results}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(argument) for argument in sys.argv[3:]])
