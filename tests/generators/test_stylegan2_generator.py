"""Seeds to pictures: one seed one picture, what is refused, what is left as it was."""

from __future__ import annotations

import dataclasses
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from bench.stylegan2_weights import Widths, full_size, random_checkpoint

import idsim.generators.stylegan2.generator
from idsim.arithmetic import full_float32
from idsim.generators.stylegan2.checkpoint import Checkpoint
from idsim.generators.stylegan2.config import GeneratorConfig
from idsim.generators.stylegan2.generator import StyleGan2
from idsim.generators.stylegan2.latents import latent_code, noise_maps
from support.torch_threads import one_thread  # noqa: F401 - a fixture

WIDTHS = Widths(channel_base=512, channel_max=16)
PLAIN = GeneratorConfig(
    resolution=32, img_channels=3, z_dim=16, w_dim=16, c_dim=0, mapping_layers=2, fp16_resolutions=(16, 32)
)  # fmt: skip
CLASSES = dataclasses.replace(PLAIN, c_dim=3)
MODES = ("const", "none", "random", "seeded-tf")


def made(config: GeneratorConfig = PLAIN, *, without: str = "", **options) -> StyleGan2:
    checkpoint = random_checkpoint(config, WIDTHS)
    if without:
        left = {name: array for name, array in checkpoint.weights.items() if not name.endswith(without)}
        checkpoint = Checkpoint(config, left, checkpoint.provenance)
    return StyleGan2(checkpoint, device="cpu", **options)


def pixels(generator: StyleGan2, seeds, **arguments) -> list[bytes]:
    return [picture.tobytes() for picture in generator.sample(seeds, **arguments)]


@pytest.fixture
def three_threads():
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize("noise", MODES)
@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_one_seed_is_one_picture_whatever_the_batch(noise, precision, three_threads):
    generator = made(noise=noise, precision=precision, batch=3)
    alone = {seed: pixels(generator, [seed])[0] for seed in (3, 0, 7, 2**32 - 1)}
    assert len(set(alone.values())) == 4
    assert pixels(generator, alone) == list(alone.values())
    assert pixels(generator, [7, 7, 3]) == [alone[7], alone[7], alone[3]]
    assert pixels(made(noise=noise, precision=precision), alone) == list(alone.values())


@pytest.mark.parametrize("noise", MODES)
def test_a_batch_of_floats_stays_within_rounding(noise):
    generator, seeds = made(noise=noise), range(5)
    ws = generator.map(np.stack([latent_code(PLAIN, seed) for seed in seeds]), psi=0.7)
    together = generator.synthesize(ws, seeds=seeds)
    alone = torch.cat([generator.synthesize(ws[[seed]], seeds=[seed]) for seed in seeds])
    torch.testing.assert_close(together, alone, rtol=0, atol=2e-5)


def test_pictures_are_lazy_and_can_be_drawn_again(monkeypatch, three_threads):
    generator, drawn = made(batch=2), []
    draw = generator.draw
    monkeypatch.setattr(generator, "draw", lambda seeds, *rest: drawn.extend(seeds) or draw(seeds, *rest))
    pictures = generator.sample(range(5))
    assert len(pictures) == 5
    assert drawn == []
    first = next(iter(pictures))
    assert sorted(drawn) == [0, 1]
    assert first.shape == (32, 32, 3)
    assert first.dtype == np.uint8
    assert first.flags.c_contiguous
    assert len(list(pictures)) == 5
    assert len(generator.sample([])) == 0


def test_the_number_of_threads_changes_no_byte(three_threads):
    generator, found = made(), set()
    for threads in (3, 2, 1):
        torch.set_num_threads(threads)
        assert generator.batch_size() == threads
        assert made(batch=2).batch_size() == min(threads, 2)
        found.add(tuple(pixels(generator, range(5), psi=0.7)))
        assert torch.get_num_threads() == threads
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == threads
    assert len(found) == 1


def test_noise_modes_and_psi_draw_different_pictures():
    found = {mode: pixels(made(noise=mode), [1], psi=0.7)[0] for mode in MODES}
    assert len(set(found.values())) == 4
    generator = made()
    assert len({pixels(generator, [1], psi=psi)[0] for psi in (0, 0.5, 1, 1.5)}) == 4
    assert pixels(generator, [1]) == pixels(generator, [1], psi=1)
    assert pixels(made(noise="seeded-tf"), [1]) == pixels(made(noise="seeded-tf"), [1], psi=0.5)


def test_classes_draw_different_pictures():
    generator = made(CLASSES)
    assert len({pixels(generator, [1], label=label)[0] for label in range(3)}) == 3
    assert generator.sample([1], label=np.int64(2))


def test_grey_networks_draw_rgb():
    (picture,) = made(dataclasses.replace(PLAIN, img_channels=1)).sample([0])
    assert picture.shape == (32, 32, 3)
    assert (picture == picture[..., :1]).all()


def test_levels_are_floored_and_clipped(monkeypatch):
    generator = made()
    values = torch.tensor([-9.0, -1.004, -1.0, 0.0, 0.0078, 0.9999, 1.0, 9.0])
    image = values.repeat(3, 32, 4)[None]
    monkeypatch.setattr(generator, "synthesize", lambda *_, **__: image)
    (picture,) = generator.sample([0])
    # -1 is level 0.5, and 0.9999 is 255.49
    assert picture[0, :8, 0].tolist() == [0, 0, 0, 128, 128, 255, 255, 255]


def test_the_seed_conventions():
    stream = np.random.RandomState(5)
    np.testing.assert_array_equal(latent_code(PLAIN, 5), stream.randn(1, 16).astype(np.float32)[0])
    maps = noise_maps(PLAIN, 5, "seeded-tf")
    assert [len(noise) for noise in maps] == [4, 8, 8, 16, 16, 32, 32]
    for noise in maps:
        np.testing.assert_array_equal(noise, stream.randn(1, 1, *noise.shape).astype(np.float32)[0, 0])
    fresh = noise_maps(PLAIN, 5, "random")
    assert [noise.shape for noise in fresh] == [noise.shape for noise in maps]
    assert abs(float(fresh[-1].std()) - 1) < 0.1
    with pytest.raises(ValueError, match="'const' is not drawn by seed"):
        noise_maps(PLAIN, 5, "const")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": "loud"}, r"noise must be one of const, none, random, seeded-tf, not 'loud'"),
        ({"cutoff": 9}, r"cutoff must be from 0 to 8, not 9"),
        ({"cutoff": -1}, r"cutoff must be from 0 to 8, not -1"),
        ({"precision": "half"}, r"precision must be float32 or mixed, not 'half'"),
        ({"batch": 0}, r"batch must be at least 1, not 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        made(**options)


@pytest.mark.parametrize(
    ("config", "seeds", "arguments", "message"),
    [
        (PLAIN, [-1], {}, r"seeds go from 0 to 4294967295, not -1"),
        (PLAIN, [2**32], {}, r"seeds go from 0 to 4294967295, not 4294967296"),
        (PLAIN, [0], {"psi": float("nan")}, r"psi must be finite, not nan"),
        (PLAIN, [0], {"label": 0}, r"no classes, and label is 0"),
        (CLASSES, [0], {}, r"classes 0 to 2: a label is needed"),
        (CLASSES, [0], {"label": 3}, r"label must be from 0 to 2, not 3"),
        (dataclasses.replace(PLAIN, img_channels=4), [0], {}, r"pictures have 4 channels, not 1 or 3"),
    ],
)
def test_bad_arguments_are_refused_by_the_call(config, seeds, arguments, message):
    generator = made(config)
    with pytest.raises(ValueError, match=message):
        generator.sample(seeds, **arguments)


def test_bad_types_are_refused():
    with pytest.raises(TypeError):
        made().sample([0.5])
    with pytest.raises(TypeError):
        made(CLASSES).sample([0], label=1.5)


def test_bad_shapes_are_refused():
    generator = made(noise="random")
    with pytest.raises(ValueError, match=r"z must be \[n, 16\], not \[2, 8\]"):
        generator.map(np.zeros((2, 8)))
    with pytest.raises(ValueError, match=r"ws must be \[n, 8, 16\], not \[2, 7, 16\]"):
        generator.synthesize(torch.zeros(2, 7, 16), seeds=[0, 1])
    with pytest.raises(ValueError, match="needs a seed for each of 2 pictures, not None"):
        generator.synthesize(torch.zeros(2, 8, 16))
    with pytest.raises(ValueError, match=r"needs a seed for each of 2 pictures, not \[1\]"):
        generator.synthesize(torch.zeros(2, 8, 16), seeds=[1])


def test_a_network_without_mean_style():
    generator = made(without="w_avg")
    assert len(pixels(generator, [0])) == 1
    with pytest.raises(ValueError, match=r"psi must be 1, not 0\.7: the checkpoint has no mean style"):
        generator.sample([0], psi=0.7)


def test_a_network_without_stored_noise():
    with pytest.raises(ValueError, match="the checkpoint has none: choose another"):
        made(without="noise_const")
    found = pixels(made(without="noise_const", noise="random"), [4])
    assert found == pixels(made(noise="random"), [4])
    with pytest.raises(ValueError, match="these weights have none"):
        made(without="noise_const", noise="none").network.synthesis(torch.zeros(1, 8, 16), "const")


def test_a_network_without_noise_takes_any_mode():
    config = dataclasses.replace(PLAIN, use_noise=False)
    assert len({pixels(made(config, noise=mode), [3], psi=1)[0] for mode in MODES}) == 1


def test_the_description_is_complete_and_json():
    described = made(CLASSES, noise="random", cutoff=4).describe()
    assert json.loads(json.dumps(described)) == described
    assert described["name"] == "stylegan2"
    assert described["config"]["fp16_resolutions"] == [16, 32]
    assert {"licence", "sha256", "weights_sha256", "provenance", "default_psi"} <= described.keys()
    assert made(CLASSES, noise="random", cutoff=4).describe() == described
    changes = ({}, {"noise": "none", "cutoff": 4}, {"noise": "random"}, {"precision": "mixed"})
    assert all(made(CLASSES, **change).describe() != described for change in changes)


def test_gradients_reach_the_styles_and_not_the_weights():
    generator = made()
    ws = generator.map(latent_code(PLAIN, 0)[None]).clone().requires_grad_()
    generator.synthesize(ws).square().mean().backward()
    assert float(ws.grad.abs().max()) > 0
    assert not any(parameter.requires_grad for parameter in generator.network.parameters())


def test_the_weights_are_copied():
    checkpoint = random_checkpoint(PLAIN, WIDTHS)
    generator = StyleGan2(checkpoint, device="cpu")
    before = pixels(generator, [0])
    for array in checkpoint.weights.values():
        array[...] = 0
    assert pixels(generator, [0]) == before


def test_float32_stays_float32_whatever_is_switched_on():
    before = pixels(made(), [0, 1])
    operations = (torch.backends.mkldnn.conv, torch.backends.mkldnn.matmul)
    try:
        for operation in operations:
            operation.fp32_precision = "bf16"
        assert pixels(made(), [0, 1]) == before
        assert [operation.fp32_precision for operation in operations] == ["bf16", "bf16"]
    finally:
        for operation in operations:
            operation.fp32_precision = "none"


def test_switches_are_put_back():
    backends = torch.backends
    operations = (backends.cudnn.conv, backends.cuda.matmul, backends.mkldnn.conv, backends.mkldnn.matmul)
    before = [operation.fp32_precision for operation in operations], backends.cudnn.deterministic
    with pytest.raises(KeyError), full_float32():
        assert {operation.fp32_precision for operation in operations} == {"ieee"}
        assert backends.cudnn.deterministic
        raise KeyError
    assert ([operation.fp32_precision for operation in operations], backends.cudnn.deterministic) == before


def test_the_batch_fits_the_free_memory(monkeypatch):
    generator = made()
    picture = generator._bytes_per_picture()
    assert picture == 6 * 4 * 16 * 32**2
    cases = ((0, 1), (picture, 1), (20 * picture, 10), (10**12, 64))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    for free, size in cases:
        monkeypatch.setattr(idsim.generators.stylegan2.generator, "_free_memory", lambda free=free: free)
        assert generator.batch_size() == size
    generator.device = torch.device("cuda", 0)
    for free, size in cases:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10**12))
        assert generator.batch_size() == size


def test_without_torch_the_extra_is_named(monkeypatch):
    checkpoint = random_checkpoint(PLAIN, WIDTHS)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'idsim\[torch\]'"):
        StyleGan2(checkpoint)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own modules
def test_compiled():
    generator, plain = made(compiled=True), made()
    pairs = zip(generator.sample(range(3)), plain.sample(range(3)), strict=True)
    assert max(np.abs(a.astype(int) - b).max() for a, b in pairs) <= 1


@pytest.mark.slow
def test_full_size_configuration_f():
    config, widths = full_size(1024)
    checkpoint = random_checkpoint(config, widths)
    parameters = sum(
        a.size for name, a in checkpoint.weights.items() if not name.endswith(("const", "filter"))
    )
    assert 30.0e6 < parameters < 30.5e6
    (picture,) = StyleGan2(checkpoint, device="cpu").sample([0], psi=0.7)
    assert picture.shape == (1024, 1024, 3)
    assert picture.std() > 10
