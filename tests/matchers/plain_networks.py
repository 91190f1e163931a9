"""The forward passes of the networks as plain functions of a state dict, written apart from the modules."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name


def normed(s, name, x, eps=1e-5):
    shape = (1, -1) + (1,) * (x.ndim - 2)
    mean, var = s[f"{name}.running_mean"].view(shape), s[f"{name}.running_var"].view(shape)
    return (x - mean) / (var + eps).sqrt() * s[f"{name}.weight"].view(shape) + s[f"{name}.bias"].view(shape)


def prelu(s, name, x):
    slope = s[f"{name}.weight"].view(1, -1, 1, 1)
    return torch.where(x > 0, x, slope * x)


def iresnet(s, x):
    x = prelu(s, "prelu", normed(s, "bn1", F.conv2d(x, s["conv1.weight"], padding=1)))
    stage, number = 1, 0
    while stage <= 4:
        b, stride = f"layer{stage}.{number}", 2 if number == 0 else 1
        y = F.conv2d(normed(s, f"{b}.bn1", x), s[f"{b}.conv1.weight"], padding=1)
        y = prelu(s, f"{b}.prelu", normed(s, f"{b}.bn2", y))
        y = normed(s, f"{b}.bn3", F.conv2d(y, s[f"{b}.conv2.weight"], stride=stride, padding=1))
        if number == 0:
            x = F.conv2d(x, s[f"{b}.downsample.0.weight"], stride=2)
            x = normed(s, f"{b}.downsample.1", x)
        x, number = x + y, number + 1
        if f"layer{stage}.{number}.conv1.weight" not in s:
            stage, number = stage + 1, 0
    x = normed(s, "bn2", x).flatten(1)
    return normed(s, "features", x @ s["fc.weight"].T + s["fc.bias"])


def unit(s, name, x, stride=1, padding=0):
    x = F.conv2d(x, s[f"{name}.conv.weight"], stride=stride, padding=padding)
    return normed(s, f"{name}.bn", x, 1e-3).clamp(min=0)


def mixed(s, name, x, steps, scale):
    """A residual of FaceNet; every kernel is odd and keeps the size."""
    sides = []
    for number, step in enumerate(steps):
        y = x
        for i in range(step):
            place = f"{name}.branch{number}" + (f".{i}" if step > 1 else "")
            rows, columns = s[f"{place}.conv.weight"].shape[2:]
            y = unit(s, place, y, padding=(rows // 2, columns // 2))
        sides.append(y)
    y = F.conv2d(torch.cat(sides, 1), s[f"{name}.conv2d.weight"], s[f"{name}.conv2d.bias"])
    return x + scale * y


def inception_resnet(s, x):
    x = unit(s, "conv2d_2b", unit(s, "conv2d_2a", unit(s, "conv2d_1a", x, 2)), padding=1)
    x = unit(s, "conv2d_4a", unit(s, "conv2d_3b", F.max_pool2d(x, 3, 2)))
    x = unit(s, "conv2d_4b", x, 2)
    for i in range(5):
        x = mixed(s, f"repeat_1.{i}", x, (1, 2, 3), 0.17).clamp(min=0)
    a, m = unit(s, "mixed_6a.branch0", x, 2), "mixed_6a.branch1"
    b = unit(s, f"{m}.2", unit(s, f"{m}.1", unit(s, f"{m}.0", x), padding=1), 2)
    x = torch.cat([a, b, F.max_pool2d(x, 3, 2)], 1)
    for i in range(10):
        x = mixed(s, f"repeat_2.{i}", x, (1, 3), 0.1).clamp(min=0)
    m = "mixed_7a"
    a = unit(s, f"{m}.branch0.1", unit(s, f"{m}.branch0.0", x), 2)
    b = unit(s, f"{m}.branch1.1", unit(s, f"{m}.branch1.0", x), 2)
    c = unit(s, f"{m}.branch2.1", unit(s, f"{m}.branch2.0", x), padding=1)
    x = torch.cat([a, b, unit(s, f"{m}.branch2.2", c, 2), F.max_pool2d(x, 3, 2)], 1)
    for i in range(5):
        x = mixed(s, f"repeat_3.{i}", x, (1, 3), 0.2).clamp(min=0)
    x = mixed(s, "block8", x, (1, 3), 1.0).mean((2, 3)) @ s["last_linear.weight"].T
    x = normed(s, "last_bn", x, 1e-3)
    return x / x.norm(dim=1, keepdim=True)


def sphere20(s, x):
    def layer(x, name, stride=1):
        x = F.conv2d(x, s[f"conv{name}.weight"], s[f"conv{name}.bias"], stride, 1)
        return prelu(s, f"relu{name}", x)

    for stage, pairs in ((1, 1), (2, 2), (3, 4), (4, 1)):
        x = layer(x, f"{stage}_1", 2)
        for i in range(2, 2 * pairs + 1, 2):
            x = x + layer(layer(x, f"{stage}_{i}"), f"{stage}_{i + 1}")
    return x.flatten(1) @ s["fc5.weight"].T + s["fc5.bias"]
