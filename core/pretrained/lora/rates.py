"""The range test of the learning rate (`core.training.range_test`), for adapters."""

from pathlib import Path

import torch

from core.pretrained.lora.base import describe_base, open_base
from core.pretrained.lora.config import LoraConfig
from core.pretrained.lora.encoding import encoded_dataset
from core.pretrained.lora.loop import chosen_precision
from core.pretrained.lora.run import LoraRun
from core.pretrained.lora.step import LoraStepper, new_state
from core.pretrained.text_to_image.opening import fetch_pipeline
from core.training.processes import Processes
from core.training.range_test import RangeTest, refuse_prodigy, save_range_test, sweep_rates


def find_rate(
    config: LoraConfig,
    folder: Path,
    *,
    encoded: Path | None = None,
    device: torch.device,
    accumulate: int = 1,
    budget_s: float = 600.0,
) -> RangeTest:
    """Sweep the rate on the real pictures and pipeline; find_lr.json and .png in the run's folder.

    Nothing of the adapters is kept; the encoded pictures are.
    """
    refuse_prodigy(config.optimizer)
    run = LoraRun(folder)
    source = describe_base(fetch_pipeline(config.pipeline, config.revision)[0])
    precision = chosen_precision(config, device)
    pipeline = open_base(source, precision)
    alone = Processes.alone(device)
    dataset = encoded_dataset(
        config, source, lambda: pipeline, encoded or run.encoded, processes=alone
    )
    state = new_state(config, pipeline, device, fp16=precision == "fp16")
    stepper = LoraStepper(config, dataset, pipeline, state, alone, accumulate=accumulate)
    found = sweep_rates(
        lambda factor: float(stepper.step(factor)[0]),
        device=device,
        learning_rate=config.learning_rate,
        budget_s=budget_s,
    )
    save_range_test(found, config, run)
    return found
