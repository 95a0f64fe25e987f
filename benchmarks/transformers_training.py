"""The same training with transformers: its Trainer as the published study ran it, and its model in a plain loop."""

import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoTokenizer,
    Qwen2ForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    get_linear_schedule_with_warmup,
)
from transformers.utils import logging

from steps import Steps
from worldwidth.data.corpus import Lines
from worldwidth.settings.schema import Optimization

logging.disable_progress_bar()

_NOT_COUNTED = -100  # transformers' label of a token that the loss leaves out


class _Clock(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Notes when the first step begins and when every step ends."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        if not self.times:
            self.times.append(time.perf_counter())

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.times.append(time.perf_counter())


class _Recorder(Trainer):  # type: ignore[misc]
    """Keeps the loss of every step."""

    losses: list[Tensor]

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(*args, **kwargs)
        self.losses.append(loss.detach())
        return loss


def _collator(tokenizer: Any) -> Callable[[list[str]], dict[str, Tensor]]:
    """Texts -> a padded batch, tokenised in the loader's workers."""

    def collate(texts: list[str]) -> dict[str, Tensor]:
        batch = tokenizer(
            [text + tokenizer.eos_token for text in texts], padding=True, padding_side="right", return_tensors="pt"
        )
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, _NOT_COUNTED)
        return {**batch, "labels": labels}

    return collate


def trainer_steps(folder: Path, texts: list[str], optimization: Optimization, on_gpu: bool = False) -> Steps:
    """Train the model in ``folder`` once through ``texts``, in their order, with transformers' Trainer.

    Two workers load; no evaluation, saving or reporting. The optimiser is the Trainer's default: AdamW, since torch 2.8
    the fused one. On a GPU in float16, as the published study ran.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    clock = _Clock()
    with tempfile.TemporaryDirectory() as output, contextlib.redirect_stdout(io.StringIO()):
        arguments = TrainingArguments(
            output_dir=output,
            num_train_epochs=1,
            per_device_train_batch_size=optimization.batch_size,
            learning_rate=optimization.learning_rate,
            adam_beta1=optimization.betas[0],
            adam_beta2=optimization.betas[1],
            adam_epsilon=optimization.epsilon,
            weight_decay=optimization.weight_decay,
            max_grad_norm=optimization.max_grad_norm,
            warmup_steps=optimization.warmup_steps,
            lr_scheduler_type="linear",
            train_sampling_strategy="sequential",
            dataloader_num_workers=2,
            dataloader_pin_memory=on_gpu,
            fp16=on_gpu,
            remove_unused_columns=False,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not on_gpu,
        )
        trainer = _Recorder(
            model=Qwen2ForCausalLM.from_pretrained(folder),
            args=arguments,
            train_dataset=texts,
            data_collator=_collator(tokenizer),
            callbacks=[clock],
        )
        trainer.losses = []
        trainer.train()
    return Steps(clock.times, torch.stack(trainer.losses).tolist())


def plain_steps(folder: Path, lines: Lines, optimization: Optimization) -> Steps:
    """The same with a loop of its own: ready token ids, fused AdamW."""
    model = Qwen2ForCausalLM.from_pretrained(folder).train()
    matrices = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": optimization.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=optimization.learning_rate,
        betas=optimization.betas,
        eps=optimization.epsilon,
        fused=True,
    )
    batches = [
        _padded(lines, start, optimization.batch_size) for start in range(0, len(lines), optimization.batch_size)
    ]
    schedule = get_linear_schedule_with_warmup(optimizer, optimization.warmup_steps, len(batches))
    losses: list[Tensor] = []
    times = [time.perf_counter()]
    for batch in batches:
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), optimization.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
        times.append(time.perf_counter())
    return Steps(times, torch.stack(losses).tolist())


def _padded(lines: Lines, start: int, count: int) -> dict[str, Tensor]:
    """``count`` lines from ``start`` as a batch of transformers."""
    lengths = lines.lengths[start : start + count].astype(np.int64)
    ids = torch.from_numpy(lines.tokens[start : start + count, : lengths.max()].astype(np.int64))
    real = torch.from_numpy(np.arange(ids.shape[1]) < lengths[:, None])
    return {"input_ids": ids, "attention_mask": real.long(), "labels": ids.masked_fill(~real, _NOT_COUNTED)}
