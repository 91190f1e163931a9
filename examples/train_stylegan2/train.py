"""Train a small StyleGAN2 on a folder of pictures, on one GPU or, at 32 pixels, on a CPU.

    python draw_faces.py faces --count 4000 --size 32
    python train.py faces run --images 200000

The run folder receives ``checkpoint.safetensors`` (everything that the training needs to go on: the same command
resumes), ``generator.safetensors`` (the average of the generator's weights, which idsim reads), ``losses.csv`` and a
grid of samples for every save. On one machine's CPU, equal options and thread counts give equal bytes, interrupted
or not. It is unconditional, in float32, without augmentation: for small sets of pictures that is too little.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import math
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import checkpoint
import numpy as np
import pictures
import torch  # noqa: TID253 - a script
from discriminator import Discriminator
from PIL import Image  # noqa: TID253
from torch import Tensor  # noqa: TID253

from idsim.generators.stylegan2 import Checkpoint, GeneratorConfig, Provenance, save_checkpoint
from idsim.generators.stylegan2.latents import latent_code
from idsim.generators.stylegan2.network import GeneratorNetwork
from idsim.generators.stylegan2.training import (
    Ema,
    PathLength,
    lazy_adam,
    logistic_loss,
    mix_styles,
    nonsaturating_loss,
    r1_penalty,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKPOINT = "checkpoint.safetensors"
PATH_EVERY, R1_EVERY = 4, 16  # Steps between two regularisation steps, as in the paper.
W_AVG_SHARE = 0.005  # Of a batch in the mean style.
COLUMNS = ["step", "images", "generator", "path", "path_mean", "discriminator", "r1", "real", "fake"]


@dataclass(frozen=True)
class Settings:
    """What a resumed training must share with its beginning."""

    resolution: int
    channel_base: int
    channel_max: int
    latent: int
    mapping_layers: int
    batch: int
    rate: float
    gamma: float
    mixing: float
    ema_images: float
    mirror: bool
    seed: int
    pictures: str

    def channels(self) -> dict[int, int]:
        """Channels of the block of every resolution, in both networks."""
        sides = self.config().block_resolutions
        return {side: max(1, min(self.channel_base // side, self.channel_max)) for side in sides}

    def config(self) -> GeneratorConfig:
        return GeneratorConfig(
            resolution=self.resolution, img_channels=3, z_dim=self.latent, w_dim=self.latent, c_dim=0,
            mapping_layers=self.mapping_layers,
        )  # fmt: skip


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> float:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.item()


class Training:
    """Both networks, their optimisers and averages. A step depends on these, the seed and its number alone."""

    def __init__(self, settings: Settings, device: str) -> None:
        self.settings, self.device, self.step, self.seen = settings, device, 0, 0
        torch.manual_seed(settings.seed)
        self.generator = GeneratorNetwork(settings.config(), settings.channels()).to(device)
        self.discriminator = Discriminator(settings.channels()).to(device)
        self.ema = Ema(self.generator, settings.ema_images)
        self.path = PathLength()
        self.generator_steps = lazy_adam(self.generator.parameters(), settings.rate, PATH_EVERY)
        self.discriminator_steps = lazy_adam(self.discriminator.parameters(), settings.rate, R1_EVERY)

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """New pictures and the styles that they were made from."""
        latent = torch.randn(2, count, self.settings.latent).to(self.device)
        ws, others = (self.generator.map(z) for z in latent)
        with torch.no_grad():
            self.generator.mapping.w_avg.lerp_(ws[:, 0].mean(0), W_AVG_SHARE)
        ws = mix_styles(ws, others, self.settings.mixing)
        return self.generator.synthesis(ws, noise="random"), ws

    def advance(self, images: np.ndarray) -> dict[str, float]:
        """One step on a batch of real pictures, float32 ``[batch, 3, side, side]`` in [-1, 1]."""
        stream = np.random.SeedSequence([self.settings.seed, self.step])
        torch.manual_seed(int(stream.generate_state(1, np.uint64)[0] >> 1))
        real = torch.from_numpy(images).to(self.device)
        row: dict[str, float] = {"step": self.step + 1, "images": self.seen + len(images)}
        self.train_generator(len(images), row)
        self.train_discriminator(real, row)
        self.ema.update(self.generator, len(images), self.seen)
        self.step, self.seen = self.step + 1, self.seen + len(images)
        return row

    def train_generator(self, count: int, row: dict[str, float]) -> None:
        self.discriminator.requires_grad_(False)
        row["generator"] = descend(
            self.generator_steps, nonsaturating_loss(self.discriminator(self.draw(count)[0]))
        )
        if self.step % PATH_EVERY == 0:
            term = self.path(*self.draw(max(1, count // 2)))
            row["path"] = descend(self.generator_steps, term * PATH_EVERY) / PATH_EVERY
            row["path_mean"] = float(self.path.mean)
        self.discriminator.requires_grad_(True)

    def train_discriminator(self, real: Tensor, row: dict[str, float]) -> None:
        with torch.no_grad():
            fake = self.draw(len(real))[0]
        of_real, of_fake = self.discriminator(real), self.discriminator(fake)
        row["real"], row["fake"] = of_real.mean().item(), of_fake.mean().item()
        row["discriminator"] = descend(self.discriminator_steps, logistic_loss(of_real, of_fake))
        if self.step % R1_EVERY == 0:
            real.requires_grad_()
            term = r1_penalty(self.discriminator(real), real, self.settings.gamma)
            row["r1"] = descend(self.discriminator_steps, term * R1_EVERY) / R1_EVERY

    def parts(self) -> dict[str, torch.nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator, "ema": self.ema.network}

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"generator_steps": self.generator_steps, "discriminator_steps": self.discriminator_steps}

    def save(self, path: Path) -> None:
        tensors = {}
        for name, network in self.parts().items():
            tensors |= checkpoint.with_prefix(name, network.state_dict())
        for name, optimiser in self.optimisers().items():
            tensors |= checkpoint.with_prefix(name, checkpoint.optimiser_tensors(optimiser))
        tensors["path.mean"] = self.path.mean
        checkpoint.save(
            path, tensors, {"settings": asdict(self.settings), "step": self.step, "seen": self.seen}
        )

    def restore(self, path: Path) -> None:
        tensors, facts = checkpoint.load(path)
        for name, value in asdict(self.settings).items():
            made_with = facts["settings"].get(name)
            if made_with != value:
                raise SystemExit(f"{path}: made with {name} {made_with}, not {value}; use another folder")
        for name, network in self.parts().items():
            network.load_state_dict(checkpoint.under(name, tensors))
        for name, optimiser in self.optimisers().items():
            checkpoint.restore_optimiser(optimiser, checkpoint.under(name, tensors))
        self.path.mean = tensors["path.mean"].to(self.device)
        self.step, self.seen = facts["step"], facts["seen"]

    def grid(self, across: int = 8, down: int = 4) -> Image.Image:
        """The pictures that idsim draws from the average for the seeds 0, 1, ..., row by row, without truncation."""
        codes = [latent_code(self.settings.config(), seed) for seed in range(across * down)]
        latent = torch.from_numpy(np.stack(codes))
        with torch.no_grad():
            images = self.ema.network(latent.to(self.device))
        side = self.settings.resolution
        levels = (images * 127.5 + 128).clamp(0, 255).to(torch.uint8).cpu().numpy()
        tiles = levels.reshape(down, across, 3, side, side).transpose(0, 3, 1, 4, 2)
        return Image.fromarray(tiles.reshape(down * side, across * side, 3))


@contextmanager
def loss_table(path: Path, step: int) -> Iterator[tuple[TextIO, csv.DictWriter[str]]]:
    """losses.csv, one row a step; rows after the checkpoint that a training resumes from are cut off."""
    rows = []
    if step and path.exists():
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
        yield file, writer


def rounded(row: dict[str, float]) -> dict[str, str]:
    return {name: f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in row.items()}


def export(training: Training, run: Path) -> None:
    """Samples, and the average as a generator that names the checkpoint as its origin."""
    training.grid().save(run / f"samples-{training.seen:09}.png")
    content = (run / CHECKPOINT).read_bytes()
    origin = Provenance(
        container="safetensors", layout=checkpoint.KEY, network="ema", file_bytes=len(content),
        file_sha256=hashlib.sha256(content).hexdigest(), kimg=training.seen / 1000,
    )  # fmt: skip
    weights = {name: value.cpu().numpy() for name, value in training.ema.network.state_dict().items()}
    generator = Checkpoint(training.settings.config(), weights, origin)
    save_checkpoint(generator, run / "generator.safetensors", replace=True)


def train(training: Training, array: np.ndarray, run: Path, total: int, save_every: int) -> None:
    settings = training.settings
    began, start = time.monotonic(), training.seen
    with loss_table(run / "losses.csv", training.step) as (file, table):
        while training.seen < total:
            before = training.seen
            row = training.advance(
                pictures.batch(array, settings.seed, before, settings.batch, mirror=settings.mirror)
            )
            table.writerow(rounded(row))
            if not all(map(math.isfinite, row.values())):
                raise SystemExit(f"not finite: {rounded(row)}; a smaller --rate or a larger --gamma may help")
            if training.seen // save_every > before // save_every or training.seen >= total:
                file.flush()
                training.save(run / CHECKPOINT)
                export(training, run)
                speed = (training.seen - start) / (time.monotonic() - began)
                logits = f"real {row['real']:.2f}, fake {row['fake']:.2f}"
                print(f"{training.seen} images, {speed:.1f} a second, {logits}", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "pictures", type=Path, help="folder of pictures of any size; the middle square is used"
    )
    parser.add_argument("run", type=Path, help="folder of the run; resumed if it has a checkpoint")
    parser.add_argument("--images", type=int, default=200_000, help="real pictures to show in all")
    parser.add_argument(
        "--resolution", type=int, help="a power of two; default: the largest that enlarges none"
    )
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument(
        "--channel-base", type=int, help="channels times pixels of a side; default 32 x resolution"
    )
    parser.add_argument("--channel-max", type=int, default=128, help="most channels of a block")
    parser.add_argument("--latent", type=int, default=128, help="dimensions of z and w")
    parser.add_argument("--mapping-layers", type=int, default=2)
    parser.add_argument("--rate", type=float, default=0.002, help="learning rate of both networks")
    parser.add_argument("--gamma", type=float, help="weight of R1; default 0.0002 x resolution^2 / batch")
    parser.add_argument("--mixing", type=float, default=0.9, help="share of the batches with mixed styles")
    parser.add_argument("--ema-images", type=float, help="half-life of the average; default 312.5 x batch")
    parser.add_argument("--mirror", action="store_true", help="mirror half of the pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=20_000, help="images between two saves")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def main() -> None:
    options = parse()
    paths = pictures.find(options.pictures)
    side = options.resolution or pictures.fitting_resolution(paths)
    if side < 8 or side & (side - 1):
        raise SystemExit(f"--resolution must be a power of two, 8 or more, not {side}")
    if min(options.batch, options.save_every) < 1:
        raise SystemExit("--batch and --save-every must be 1 or more")
    if not 0 <= options.mixing <= 1:
        raise SystemExit(f"--mixing must be from 0 to 1, not {options.mixing}")
    options.run.mkdir(parents=True, exist_ok=True)
    array = pictures.prepare(paths, side, options.run / f"pictures-{side}.npy")
    settings = Settings(
        resolution=side,
        channel_base=options.channel_base or 32 * side,
        channel_max=options.channel_max,
        latent=options.latent,
        mapping_layers=options.mapping_layers,
        batch=options.batch,
        rate=options.rate,
        gamma=options.gamma if options.gamma is not None else 0.0002 * side**2 / options.batch,
        mixing=options.mixing,
        ema_images=options.ema_images or 312.5 * options.batch,
        mirror=options.mirror,
        seed=options.seed,
        pictures=pictures.fingerprint(array),
    )
    training = Training(settings, options.device)
    if (options.run / CHECKPOINT).exists():
        training.restore(options.run / CHECKPOINT)
        export(training, options.run)
        print(f"resuming after {training.seen} images")
    train(training, array, options.run, options.images, options.save_every)


if __name__ == "__main__":
    main()
