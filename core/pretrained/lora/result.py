"""The end of a LoRA training: its files, and a card that says what they are."""

import json

from core.config import config_to_dict
from core.files import atomic_folder, write_bytes
from core.pretrained.lora.config import LoraConfig
from core.pretrained.lora.encoded import Encoded
from core.pretrained.lora.formats import save_adapters
from core.pretrained.lora.run import LoraRun, LoraState
from core.pretrained.text_to_image.source import PipelineSource
from core.training.record import read_metrics

_CARD = """---
library_name: diffusers
base_model: {pipeline}
license: other
license_name: {licence}
tags: [lora, text-to-image, menagerie]
---
# {name}

A LoRA of rank {rank} for {kind} ({pipeline}), trained by Menagerie on {count:,} pictures.

```python
from diffusers import AutoPipelineForText2Image

pipeline = AutoPipelineForText2Image.from_pretrained("{pipeline}")
pipeline.load_lora_weights("{name}/lora")
pipeline("{caption}").images[0].save("picture.png")
```

`kohya.safetensors` is the same for ComfyUI, A1111 and others that read kohya's format.

| figure | value |
| --- | --- |
| steps × batch | {steps:,} × {batch} |
| parameters | {parameters:,} |
| training loss, first → last row | {first:.4f} → {last:.4f} |
| data digest (SHA-256) | `{digest}` |
| pipeline digest (SHA-256) | `{model}` |
| licence of the data | {licence} |
| licence of the pipeline | {base_licence} |
{notes}

The pictures are generated: they may resemble, and should not be passed off as, the training data.

## Config

```json
{config}
```
"""


def save_result(
    run: LoraRun, config: LoraConfig, state: LoraState, encoded: Encoded, source: PipelineSource
) -> None:
    """Write `lora/`, whole or not at all."""
    facts = {
        "data_digest": encoded.digest,
        "pipeline_digest": source.digest,
        "steps": str(state.step),
        "licence": encoded.licence,
    }
    with atomic_folder(run.lora) as folder:
        save_adapters(
            folder,
            state.adapters.state(),
            rank=config.rank,
            alpha=config.alpha,
            facts=facts,
            unet_config=source.denoiser,
        )
        card = _card(run, config, state, encoded, source, facts)
        write_bytes(folder / "README.md", card.encode())


def _card(
    run: LoraRun,
    config: LoraConfig,
    state: LoraState,
    encoded: Encoded,
    source: PipelineSource,
    facts: dict[str, str],
) -> str:
    losses = [row["loss"] for row in read_metrics(run.metrics) if "loss" in row]
    note = ""
    if encoded.redistributable is not True:
        why = "forbids it" if encoded.redistributable is False else "is not known to allow it"
        note = f"| note | passing this LoRA on: the data's licence {why} |"
    return _CARD.format(
        name=run.root.name,
        pipeline=config.pipeline,
        kind=source.class_name,
        rank=config.rank,
        count=len(encoded.items),
        caption=encoded.captions[0].replace('"', "'"),
        steps=state.step,
        batch=config.batch_size,
        parameters=sum(weight.numel() for weight in state.adapters.parameters()),
        first=losses[0] if losses else float("nan"),
        last=losses[-1] if losses else float("nan"),
        digest=encoded.digest,
        model=facts["pipeline_digest"],
        licence=encoded.licence,
        base_licence=source.licence or "unknown",
        notes=note,
        config=json.dumps(config_to_dict(config), indent=2, ensure_ascii=False),
    )
