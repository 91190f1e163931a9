"""The names of the public state dicts, derived from rules instead of from the networks under test."""

from __future__ import annotations

NORM = ("weight", "bias", "running_mean", "running_var")


def norm(place):
    return [f"{place}.{part}" for part in NORM]


def iresnet(counts):
    names = ["conv1.weight", *norm("bn1"), "prelu.weight"]
    for stage, count in enumerate(counts, 1):
        for number in range(count):
            block = f"layer{stage}.{number}"
            names += [*norm(f"{block}.bn1"), f"{block}.conv1.weight", *norm(f"{block}.bn2")]
            names += [f"{block}.prelu.weight", f"{block}.conv2.weight", *norm(f"{block}.bn3")]
            if number == 0:
                names += [f"{block}.downsample.0.weight", *norm(f"{block}.downsample.1")]
    return [*names, *norm("bn2"), "fc.weight", "fc.bias", *norm("features")]


def unit(place):
    return [f"{place}.conv.weight", *norm(f"{place}.bn")]


def branches(place, depths):
    names = []
    for number, depth in enumerate(depths):
        inner = [""] if depth == 1 else [f".{step}" for step in range(depth)]
        for step in inner:
            names += unit(f"{place}.branch{number}{step}")
    return names


def residual(place, depths):
    return [*branches(place, depths), f"{place}.conv2d.weight", f"{place}.conv2d.bias"]


def inception_resnet():
    stem = ("1a", "2a", "2b", "3b", "4a", "4b")
    names = [name for part in stem for name in unit(f"conv2d_{part}")]
    names += [name for i in range(5) for name in residual(f"repeat_1.{i}", (1, 2, 3))]
    names += branches("mixed_6a", (1, 3))
    names += [name for i in range(10) for name in residual(f"repeat_2.{i}", (1, 3))]
    names += branches("mixed_7a", (2, 2, 3))
    names += [name for i in range(5) for name in residual(f"repeat_3.{i}", (1, 3))]
    return [*names, *residual("block8", (1, 3)), "last_linear.weight", *norm("last_bn")]


def sphere20():
    layers = [f"{stage}_{i}" for stage, count in enumerate((3, 5, 9, 3), 1) for i in range(1, count + 1)]
    names = [f"{kind}" for x in layers for kind in (f"conv{x}.weight", f"conv{x}.bias", f"relu{x}.weight")]
    return [*names, "fc5.weight", "fc5.bias"]
