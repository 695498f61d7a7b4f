"""The reference recipe that the benchmarks compare with: network, training step and sampling.

What is widely used for small pictures: a pixel-space U-Net (Ho et al. 2020) with linear attention
at every resolution (Shen et al. 2021), RMS normalisation, scale-shift conditioning on time and
class; cosine schedule of 1000 steps (Nichol & Dhariwal 2021), noise prediction, Adam at 8e-5;
ancestral sampling with two forwards a step for classifier-free guidance (Ho & Salimans 2022).
Width 64, levels of 1, 2, 3, 4 times that: 16.2 million parameters. fp32, eager, as it comes.
"""

import itertools
import math

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from core.diffusion.guidance import Denoise

RATE = 8e-5
BATCH = 16
TIMESTEPS = 1000


class ReferenceUNet(nn.Module):
    """Noise in noisy pictures, N×C×H×W, from them, their times (N) and classes (N)."""

    def __init__(
        self,
        *,
        channels: int,
        labels: int,
        width: int = 64,
        multiples: tuple[int, ...] = (1, 2, 3, 4),
    ) -> None:
        super().__init__()
        widths = [width, *(width * multiple for multiple in multiples)]
        pairs = list(itertools.pairwise(widths))
        self.width, condition = width, 4 * width
        self.begin = nn.Conv2d(channels, width, 7, padding=3)
        self.time = nn.Sequential(
            nn.Linear(width, condition), nn.GELU(), nn.Linear(condition, condition)
        )
        self.label = nn.Embedding(labels + 1, width)
        self.label_mlp = nn.Sequential(
            nn.Linear(width, condition), nn.GELU(), nn.Linear(condition, condition)
        )
        self.down = nn.ModuleList()
        for level, (before, after) in enumerate(pairs):
            last = level == len(pairs) - 1
            self.down.append(
                nn.ModuleList(
                    [
                        _Residual(before, before, 2 * condition),
                        _Residual(before, before, 2 * condition),
                        _LinearAttention(before),
                        nn.Conv2d(before, after, 3, padding=1) if last else _halved(before, after),
                    ]
                )
            )
        middle = widths[-1]
        self.middle = nn.ModuleList(
            [
                _Residual(middle, middle, 2 * condition),
                _Attention(middle),
                _Residual(middle, middle, 2 * condition),
            ]
        )
        self.up = nn.ModuleList()
        for level, (after, before) in enumerate(reversed(pairs)):
            last = level == len(pairs) - 1
            self.up.append(
                nn.ModuleList(
                    [
                        _Residual(before + after, before, 2 * condition),
                        _Residual(before + after, before, 2 * condition),
                        _LinearAttention(before),
                        nn.Conv2d(before, after, 3, padding=1) if last else _doubled(before, after),
                    ]
                )
            )
        self.end = _Residual(2 * width, width, 2 * condition)
        self.out = nn.Conv2d(width, channels, 1)

    def forward(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        """Time counts steps from 0; the label after the last one means "any class"."""
        condition = torch.cat(
            [self.time(_waves(time, self.width)), self.label_mlp(self.label(labels))], dim=1
        )
        x = first = self.begin(x)
        skips = []
        for one, two, attention, smaller in self.down:
            x = one(x, condition)
            skips.append(x)
            x = attention(two(x, condition))
            skips.append(x)
            x = smaller(x)
        one, attention, two = self.middle
        x = two(attention(one(x, condition)), condition)
        for one, two, attention, larger in self.up:
            x = one(torch.cat([x, skips.pop()], dim=1), condition)
            x = attention(two(torch.cat([x, skips.pop()], dim=1), condition))
            x = larger(x)
        result: Tensor = self.out(self.end(torch.cat([x, first], dim=1), condition))
        return result


class _Residual(nn.Module):
    def __init__(self, before: int, after: int, condition: int) -> None:
        super().__init__()
        self.condition = nn.Linear(condition, 2 * after)
        self.one, self.norm_one = nn.Conv2d(before, after, 3, padding=1), _Norm(after)
        self.two, self.norm_two = nn.Conv2d(after, after, 3, padding=1), _Norm(after)
        self.short = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.condition(functional.silu(condition))[:, :, None, None].chunk(2, dim=1)
        y = functional.silu(self.norm_one(self.one(x)) * (scale + 1) + shift)
        y = functional.silu(self.norm_two(self.two(y)))
        return y + self.short(x)


class _Norm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(x, dim=1) * self.gain * x.shape[1] ** 0.5


class _LinearAttention(nn.Module):
    """Softmax over features and over places, apart: linear in the number of places."""

    def __init__(self, channels: int, heads: int = 4, width: int = 32) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.norm = _Norm(channels)
        self.project = nn.Conv2d(channels, 3 * heads * width, 1, bias=False)
        self.out = nn.Sequential(nn.Conv2d(heads * width, channels, 1), _Norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        count, _, height, width = x.shape
        q, k, v = self.project(self.norm(x)).view(count, 3, self.heads, self.width, -1).unbind(1)
        context = k.softmax(dim=-1) @ v.transpose(-1, -2)
        mixed = context.transpose(-1, -2) @ (q.softmax(dim=-2) * self.width**-0.5)
        return x + self.out(mixed.reshape(count, -1, height, width))


class _Attention(nn.Module):
    def __init__(self, channels: int, heads: int = 4, width: int = 32) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.norm = _Norm(channels)
        self.project = nn.Conv2d(channels, 3 * heads * width, 1, bias=False)
        self.out = nn.Conv2d(heads * width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        count, _, height, width = x.shape
        q, k, v = self.project(self.norm(x)).view(count, 3, self.heads, self.width, -1).unbind(1)
        weights = ((q * self.width**-0.5).transpose(-1, -2) @ k).softmax(dim=-1)
        mixed = (weights @ v.transpose(-1, -2)).transpose(-1, -2)
        return x + self.out(mixed.reshape(count, -1, height, width))


def _halved(before: int, after: int) -> nn.Module:
    return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * before, after, 1))


def _doubled(before: int, after: int) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1))


def _waves(time: Tensor, width: int) -> Tensor:
    rates = torch.exp(
        torch.arange(width // 2, device=time.device) * -(math.log(1e4) / (width // 2))
    )
    angles = time[:, None].float() * rates[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def cosine_alphas(timesteps: int = TIMESTEPS) -> Tensor:
    """Signal share ᾱ after each step (Nichol & Dhariwal 2021, eq. 17, β at most 0.999)."""
    t = torch.linspace(0, 1, timesteps + 1, dtype=torch.float64)
    level = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    betas = (1 - level[1:] / level[:-1]).clamp(0, 0.999)
    return torch.cumprod(1 - betas, dim=0).float()


class ReferenceTraining:
    """The reference's step, on pictures held in memory (its loader's cost is not counted)."""

    def __init__(self, clean: Tensor, labels: Tensor, *, batch_size: int = BATCH) -> None:
        torch.manual_seed(0)
        self.clean, self.labels, self.batch_size = clean, labels, batch_size
        self.network = ReferenceUNet(channels=clean.shape[1], labels=int(labels.max()) + 1)
        self.network.to(clean.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=RATE, betas=(0.9, 0.99))
        self.alphas = cosine_alphas().to(clean.device)

    def step(self) -> float:
        """One step; the loss, waited for as that loop does."""
        return float(self.update(self.loss()))

    def loss(self) -> Tensor:
        """The noise's squared error on a random batch."""
        rows = torch.randint(len(self.clean), (self.batch_size,), device=self.clean.device)
        clean, labels = self.clean[rows], self.labels[rows]
        dropped = torch.rand(len(rows), device=rows.device) < 0.5
        labels = torch.where(dropped, self.network.label.num_embeddings - 1, labels)
        time = torch.randint(TIMESTEPS, (len(rows),), device=rows.device)
        alpha = self.alphas[time][:, None, None, None]
        noise = torch.randn_like(clean)
        guess = self.network(alpha.sqrt() * clean + (1 - alpha).sqrt() * noise, time, labels)
        return functional.mse_loss(guess, noise)

    def update(self, loss: Tensor) -> Tensor:
        """Backward, clipping and the optimiser's step; the loss."""
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()


@torch.no_grad()
def ancestral(
    cond: Denoise, uncond: Denoise, noise: Tensor, *, scale: float, steps: int = TIMESTEPS
) -> Tensor:
    """Ancestral sampling over the whole cosine schedule, with two forwards a step.

    cond, uncond give clean pictures from x0 + σ·noise, so that any checkpoint can be sampled this
    way; noise N×C×H×W of unit spread. Ho et al. 2020, algorithm 2, with x0 clipped to [-1, 1].
    """
    alphas = cosine_alphas(steps).to(noise.device)
    x = noise
    for t in range(steps - 1, -1, -1):
        alpha, before = float(alphas[t]), float(alphas[t - 1]) if t else 1.0
        sigma = math.sqrt((1 - alpha) / alpha)
        wide = x / math.sqrt(alpha)
        without = uncond(wide, sigma)
        clean = (without + scale * (cond(wide, sigma) - without)).clamp(-1, 1)
        beta = 1 - alpha / before
        mean = (
            math.sqrt(before) * beta / (1 - alpha) * clean
            + math.sqrt(1 - beta) * (1 - before) / (1 - alpha) * x
        )
        spread = math.sqrt(beta * (1 - before) / (1 - alpha))
        x = mean + spread * torch.randn_like(x) if t else mean
    return x
