"""Fine-tuning: an earlier run's weights, classes by name, its units, its digest."""

import dataclasses
from pathlib import Path

import diffusers
import pytest
import torch

from core.data.pinned import PinnedDataset
from core.data.prepare import PrepareConfig, prepare
from core.diffusion.modelinfo import describe_model, model_digest
from core.diffusion.pipeline import open_pipeline
from core.errors import UserError
from core.files import read_json
from core.rundir import RunFolder
from core.training.finetune import inherited_statistics
from core.training.loop import train
from core.training.processes import Processes
from core.training.step import Stepper, new_state
from tests.autoencoders import save_autoencoder
from tests.tiny import tiny_config, tiny_dataset

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PinnedDataset:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory, dataset: PinnedDataset) -> Path:
    run = tmp_path_factory.mktemp("runs") / "parent"
    train(tiny_config(data=dataset.folder, steps=4), dataset, run, cpu=True)
    return run


def test_classes_are_matched_by_name_and_new_ones_begin_as_any_class(
    parent: Path, dataset: PinnedDataset
) -> None:
    other = dataclasses.replace(dataset, label_names=("dog", "fish"))
    state = new_state(tiny_config(init_from=parent, augment=0.5), other, CPU)
    before = open_pipeline(parent).unet.state_dict()
    rows = before["class_embedding.weight"]
    _, fish, any_class = rows  # cat, fish, any class
    expected = torch.stack([any_class, fish, any_class])
    for network in (state.unet, state.ema):
        now = network.state_dict()
        assert torch.equal(now["class_embedding.weight"], expected)
        assert all(torch.equal(now[n], before[n]) for n in before if n != "class_embedding.weight")
    assert state.narrow is not None
    assert torch.equal(state.narrow["class_embedding.weight"], expected)


def test_the_units_are_those_of_the_earlier_model(parent: Path, dataset: PinnedDataset) -> None:
    """Else its weights would read other numbers than they were trained on."""
    darker = dataclasses.replace(dataset, images_nhwc=dataset.images_nhwc // 2)
    config = tiny_config(init_from=parent)
    state = new_state(config, darker, CPU)
    stepper = Stepper(config, darker, state, Processes.alone(CPU))
    assert stepper.statistics == inherited_statistics(parent)
    own = Stepper(tiny_config(), darker, state, Processes.alone(CPU)).statistics
    assert stepper.statistics != own


def test_a_fine_tuned_model_names_its_parent_and_begins_where_that_ended(
    parent: Path, dataset: PinnedDataset, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    config = tiny_config(data=dataset.folder, init_from=parent, steps=2, learning_rate=1e-9)
    train(dataclasses.replace(config, muon_rate=1e-9), dataset, run.root, cpu=True)
    before = open_pipeline(parent).unet.state_dict()
    for name, tensor in open_pipeline(run.root).unet.state_dict().items():
        assert torch.allclose(tensor, before[name], atol=1e-5)
    digest = model_digest(parent)
    assert describe_model(run.root).facts["parent"] == digest
    assert read_json(run.data)["parent"]["digest"] == digest
    assert f"fine-tuned from | `{digest}`" in (run.model / "README.md").read_text()


def test_another_parent_under_the_same_name_is_refused(
    parent: Path, dataset: PinnedDataset, tmp_path: Path
) -> None:
    config = tiny_config(data=dataset.folder, init_from=tmp_path / "parent", steps=1)
    (tmp_path / "parent").symlink_to(parent)
    train(config, dataset, tmp_path / "run", cpu=True)
    other = tmp_path / "other"
    train(tiny_config(data=dataset.folder, steps=1, seed=1), dataset, other, cpu=True)
    (tmp_path / "parent").unlink()
    (tmp_path / "parent").symlink_to(other)
    with pytest.raises(UserError, match=r"began from another model"):
        train(config, dataset, tmp_path / "run", cpu=True)


def test_a_model_of_other_numbers_is_refused(
    parent: Path, dataset: PinnedDataset, tmp_path: Path
) -> None:
    """Pictures for latents, plain for whitened, one autoencoder's latents for another's."""
    with pytest.raises(UserError, match=r"whiten True \(here False\)"):
        new_state(tiny_config(init_from=parent, whiten=False), dataset, CPU)
    vae, other = (save_autoencoder(tmp_path / name) for name in ("vae", "other"))
    torch.manual_seed(1)
    diffusers.AutoencoderKL.from_config(diffusers.AutoencoderKL.load_config(other)).save_pretrained(
        other
    )
    made = PrepareConfig(per_class=1, size_px=16, channels="3", duplicates="exact")
    latents, others = (
        prepare(dataclasses.replace(made, encode=str(path)), tmp_path / f"{path.name}-data").dataset
        for path in (vae, other)
    )
    with pytest.raises(UserError, match=r"space pictures \(here latents\)"):
        new_state(tiny_config(init_from=parent, patch=1), latents, CPU)
    run = tmp_path / "run"
    shape = {"patch": 1, "block_channels": (32,), "attention_levels": (), "batch_size": 2}
    train(tiny_config(data=latents.folder, steps=1, **shape), latents, run, cpu=True)
    assert new_state(tiny_config(init_from=run, **shape), latents, CPU)
    with pytest.raises(UserError, match=r"another autoencoder's latents.*--encode .*run/model/vae"):
        new_state(tiny_config(init_from=run, **shape), others, CPU)


def test_a_network_of_another_shape_is_named(parent: Path, dataset: PinnedDataset) -> None:
    config = tiny_config(init_from=parent, patch=2, block_channels=(32, 32), prediction="edm")
    with pytest.raises(UserError) as caught:
        new_state(config, dataset, CPU)
    for words in (
        "patch 4 (here 2)",
        "block_channels (32, 64) (here (32, 32))",
        "prediction clean (here edm)",
    ):
        assert words in str(caught.value)
    with pytest.raises(UserError, match="is not a run"):
        new_state(tiny_config(init_from=dataset.folder), dataset, CPU)
