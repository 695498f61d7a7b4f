"""On photographs, the figures grow with what spoils them: blur, noise and missing classes."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from core.evaluation.conclusion import measure_reals
from core.evaluation.extractors import joined, open_extractor
from core.evaluation.figures import Comparison
from core.evaluation.frechet import frechet_distance
from core.evaluation.kernel import kernel_distance
from core.evaluation.recognition import train_recognizer
from tests.test_core_evaluation_memoriser import pinned

pytestmark = [pytest.mark.realdata, pytest.mark.slow]


@pytest.fixture(scope="module")
def dataset(real_data, tmp_path_factory):
    folders = sorted(path for path in (real_data / "animals8").iterdir() if path.is_dir())

    def photographs(begin, end):
        found = []
        for folder in folders:
            for path in sorted(folder.iterdir())[begin:end]:
                with Image.open(path) as image:
                    small = image.convert("RGB").resize((64, 64), Image.Resampling.BOX)
                found.append((folder.name, np.asarray(small)))
        return found

    splits = {
        "train": photographs(0, 100),
        "validation": photographs(100, 130),
        "test": photographs(130, 160),
    }
    return pinned(tmp_path_factory.mktemp("data") / "photographs", splits)


@pytest.fixture(scope="module")
def extractor(dataset):
    return open_extractor("built-in", "", train_recognizer(dataset, epochs=4))


@pytest.fixture(scope="module")
def real(extractor, dataset):
    return extractor.of_part(dataset, "train").features


def blurred(pictures, sigma_px):
    return [
        np.array(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(sigma_px)))
        for picture in pictures
    ]


def noisy(pictures, levels):
    noise = np.random.default_rng(0)
    return [
        np.clip(picture + noise.normal(0, levels, picture.shape), 0, 255).astype(np.uint8)
        for picture in pictures
    ]


def imbalanced(pictures, share):
    """The first class takes this share more of the places of the others, which are left out."""
    each = len(pictures) // 8
    kept = round(each * (1 - share))
    rest = [picture for k in range(1, 8) for picture in pictures[k * each : k * each + kept]]
    first = pictures[:each]
    return (first * 8)[: len(pictures) - len(rest)] + rest


@pytest.mark.parametrize(
    ("change", "amounts"),
    [(blurred, (0.7, 1.4, 2.8)), (noisy, (10, 25, 60)), (imbalanced, (0.35, 0.7, 1.0))],
    ids=["blur", "noise", "imbalance"],
)
def test_distances_grow_with_what_spoils_pictures(dataset, extractor, real, change, amounts):
    held_out = [np.array(image) for image in dataset.part("validation")[0]]
    spoilt = [held_out, *(change(held_out, amount) for amount in amounts)]
    features = [extractor.extract(pictures).features for pictures in spoilt]
    frechet = [frechet_distance(found, real) for found in features]
    kernel = [kernel_distance(found, real, subsets=10, subset_size=200).mean for found in features]
    assert frechet == sorted(frechet)
    assert kernel == sorted(kernel)
    assert frechet[-1] > 2 * frechet[0]


def test_held_out_photographs_are_at_the_floor_and_training_ones_under_it(dataset, extractor):
    reals = measure_reals(extractor, dataset)
    names = [dataset.label_names[k] for k in dataset.part("validation")[1]]
    half = extractor.of_part(dataset, "validation")
    found = Comparison(reals, names).measure(joined([half]), equal=100, draws=5, seed=0)
    figure = found["frechet"]
    apart = abs(figure["drawn_mean"] - figure["floor_drawn_mean"])
    assert apart < 3 * (figure["drawn_std"] + figure["floor_drawn_std"])
    assert found["precision"]["drawn_mean"] == pytest.approx(
        found["precision"]["floor_drawn_mean"], abs=0.1
    )
    train = extractor.of_part(dataset, "train").features
    assert torch.equal(train, reals.train.features)
    assert frechet_distance(train, reals.train.features) == pytest.approx(0, abs=1e-4)
