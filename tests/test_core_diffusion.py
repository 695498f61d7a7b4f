"""The mathematics of the model: averaging, pictures."""

import pytest
import torch

from core.diffusion.ema import ema_gamma, ema_update
from core.diffusion.pipeline import starting_noise, to_pictures


@pytest.mark.parametrize("width", [0.05, 0.1, 0.2])
def test_average_has_the_width_asked_for(width: float) -> None:
    gamma = ema_gamma(width)
    steps = 2000
    average, mean, square = torch.zeros(1), torch.zeros(1), torch.zeros(1)
    for step in range(1, steps + 1):
        ema_update([average], [torch.ones(1)], step=step, gamma=gamma)
        ema_update([mean], [torch.tensor([step / steps])], step=step, gamma=gamma)
        ema_update([square], [torch.tensor([(step / steps) ** 2])], step=step, gamma=gamma)
    assert float(average) == pytest.approx(1, abs=1e-4)
    assert float((square - mean**2).sqrt()) == pytest.approx(width, rel=0.02)


def test_pictures_come_out_with_straight_alpha() -> None:
    half = torch.tensor([0.5, 0.5, -1.0, 0.0])[None, :, None, None].expand(1, 4, 2, 2)
    picture = to_pictures(half)[0]
    # Colour above alpha cannot be premultiplied: it is held to alpha, which is full brightness.
    assert picture[0, 0].tolist() == [255, 255, 0, 128]
    assert to_pictures(-torch.ones(1, 4, 2, 2))[0].sum() == 0
    assert to_pictures(torch.full((1, 3, 2, 2), 2.0))[0].shape == (2, 2, 3)


def test_noise_of_a_seed_does_not_depend_on_its_companions() -> None:
    alone = starting_noise([7], (4, 8, 8))
    assert torch.equal(starting_noise([3, 7], (4, 8, 8))[1:], alone)
