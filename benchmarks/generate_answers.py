"""Answer test sets with transformers: `python benchmarks/generate_answers.py MODEL_FOLDER OUT.json SET.json ...`

The published study ran such a script once for every test set, a process each. A set is what ``Questions`` holds;
OUT.json gets every set's answers, and the seconds that these took once the model was loaded.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

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
    max_new_tokens: int


@torch.inference_mode()
def main(folder: Path, output: Path, sets: list[Path]) -> None:
    """Load, answer, write."""
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    started = time.perf_counter()
    answers: dict[str, list[str]] = {}
    for path in sets:
        questions = Questions(**json.loads(path.read_text(encoding="utf-8")))
        given: list[str] = []
        for start in range(0, len(questions.prompts), _BATCH):
            prompts = tokenizer(questions.prompts[start : start + _BATCH], padding=True, return_tensors="pt")
            tokens = model.generate(**prompts, max_new_tokens=questions.max_new_tokens, do_sample=False)
            given += tokenizer.batch_decode(tokens[:, prompts["input_ids"].shape[1] :], skip_special_tokens=True)
        answers[questions.name] = given
    seconds = time.perf_counter() - started
    output.write_text(json.dumps({"seconds": seconds, "answers": answers}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(argument) for argument in sys.argv[3:]])
