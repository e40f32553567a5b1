#!/usr/bin/env python3
"""Writes torch_cases.hpp: what PyTorch (2.15.0) computes for the networks of test_torch.cpp.

    python3 make_torch_cases.py > torch_cases.hpp && clang-format -i torch_cases.hpp

Weights and records are drawn here and in test_torch.cpp by the same generator (base/rng.hpp), so
that no numbers have to be stored but the results.
"""
import torch
from torch import nn

MASK = (1 << 64) - 1
INPUTS, HIDDEN, OUTPUTS, RECORDS = 5, 7, 3, 6
PICTURE = 7, 6, 2  # rows, columns, channels


class Rng:
    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def uniform(self):
        return (self.next() >> 11) * 2.0**-53


def drawn(rng, count):
    return [2 * rng.uniform() - 1 for _ in range(count)]


class Gelu(nn.Module):
    def forward(self, x):
        return nn.functional.gelu(x, approximate="tanh")


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


def norm(kind, width):
    return {"none": [], "batch": [nn.BatchNorm1d(width)], "layer": [nn.LayerNorm(width)]}[kind]


def mlp(kind, activation):
    return nn.Sequential(nn.Linear(INPUTS, HIDDEN), *norm(kind, HIDDEN), activation(),
                         nn.Linear(HIDDEN, OUTPUTS))


def resnet(kind, activation):
    block = nn.Sequential(*norm(kind, HIDDEN), nn.Linear(HIDDEN, 2 * HIDDEN), activation(),
                          nn.Linear(2 * HIDDEN, HIDDEN))
    return nn.Sequential(nn.Linear(INPUTS, HIDDEN), Residual(block), *norm(kind, HIDDEN),
                         activation(), nn.Linear(HIDDEN, OUTPUTS))


class SqueezeExcite(nn.Module):
    def __init__(self, channels, squeezed):
        super().__init__()
        self.first = nn.Linear(channels, squeezed)
        self.second = nn.Linear(squeezed, channels)

    def forward(self, x):
        gate = torch.sigmoid(self.second(nn.functional.silu(self.first(x.mean((2, 3))))))
        return x * gate[:, :, None, None]


class Block(nn.Module):
    def __init__(self, inputs, outputs, size, step, expansion):
        super().__init__()
        wide = inputs * expansion
        wider = [nn.Conv2d(inputs, wide, 1), nn.BatchNorm2d(wide), nn.SiLU()]
        self.inner = nn.Sequential(
            *(wider if expansion > 1 else []),
            nn.Conv2d(wide, wide, size, step, size // 2, groups=wide, bias=False),
            nn.BatchNorm2d(wide), nn.SiLU(), SqueezeExcite(wide, max(1, inputs // 4)),
            nn.Conv2d(wide, outputs, 1), nn.BatchNorm2d(outputs))
        self.residual = step == 1 and inputs == outputs

    def forward(self, x):
        return x + self.inner(x) if self.residual else self.inner(x)


class Pictures(nn.Module):
    """Records are pixels row by row, the channels of each side by side."""

    def forward(self, x):
        rows, columns, channels = PICTURE
        return x.reshape(-1, rows, columns, channels).permute(0, 3, 1, 2)


def efficientnet():
    """Half as wide as the usual one: 8, 8, 16 and 24 channels."""
    stem = [nn.Conv2d(PICTURE[2], 8, 3, 1, 1), nn.BatchNorm2d(8), nn.SiLU()]
    blocks = [Block(8, 8, 3, 2, 1), Block(8, 16, 3, 1, 4), Block(16, 16, 3, 1, 4),
              Block(16, 24, 5, 2, 4), Block(24, 24, 5, 1, 4)]
    last = [nn.Conv2d(24, HIDDEN, 1), nn.BatchNorm2d(HIDDEN), nn.SiLU()]
    return nn.Sequential(Pictures(), *stem, *blocks, *last, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(HIDDEN, OUTPUTS))


def modules(network):
    return [m for m in network.modules() if hasattr(m, "weight")]


def fill(network, seed):
    """In the order of Network::values: a matrix by inputs, then its bias; at last the memories."""
    rng = Rng(seed)
    with torch.no_grad():
        for m in modules(network):
            if isinstance(m, nn.Linear):
                values = torch.tensor(drawn(rng, m.weight.numel()))
                m.weight.copy_(values.reshape(m.in_features, m.out_features).T)
            else:
                m.weight.copy_(torch.tensor(drawn(rng, m.weight.numel())))
            m.bias.copy_(torch.tensor(drawn(rng, m.bias.numel())))
        for m in modules(network):
            if isinstance(m, nn.BatchNorm1d):
                m.running_mean.copy_(torch.tensor(drawn(rng, m.running_mean.numel())))
                m.running_var.copy_(torch.tensor([1.5 + x for x in drawn(rng, m.running_var.numel())]))


def values_of(network):
    out = []
    for m in modules(network):
        weight = m.weight.T.flatten() if isinstance(m, nn.Linear) else m.weight
        out += weight.tolist() + m.bias.tolist()
    for m in modules(network):
        if isinstance(m, nn.BatchNorm1d):
            out += m.running_mean.tolist() + m.running_var.tolist()
    return out


def records(seed, width):
    return torch.tensor(drawn(Rng(seed), RECORDS * width)).reshape(RECORDS, width)


def listed(values):
    return "{" + ", ".join(f"{v:.9g}" for v in values) + "}"


def forward_case(name, network, seed):
    fill(network, seed)
    network.eval()
    x = records(seed + 1, INPUTS)
    inferred = network(x).flatten().tolist()
    network.train()
    x.requires_grad_(True)
    out = network(x)
    (out * records(seed + 2, OUTPUTS)).sum().backward()
    print(f'    {{"{name}", {seed}, {listed(inferred)}, {listed(out.flatten().tolist())}, '
          f"{listed(x.grad.flatten().tolist())}}},")


def weights_of_convolution(m, values):
    """A column of numbers for each tap; of what is not depthwise, for each channel of each tap."""
    size = m.kernel_size[0]
    if m.groups > 1:
        return values.reshape(size, size, m.out_channels).permute(2, 0, 1)[:, None]
    return values.reshape(size, size, m.in_channels, m.out_channels).permute(3, 2, 0, 1)


def picture_case(seed):
    network = efficientnet()
    rng = Rng(seed)
    with torch.no_grad():
        for m in modules(network):
            values = torch.tensor(drawn(rng, m.weight.numel()))
            if isinstance(m, nn.Conv2d):
                m.weight.copy_(weights_of_convolution(m, values))
            elif isinstance(m, nn.Linear):
                m.weight.copy_(values.reshape(m.in_features, m.out_features).T)
            else:
                m.weight.copy_(values)
            if m.bias is not None:
                m.bias.copy_(torch.tensor(drawn(rng, m.bias.numel())))
    x = records(seed + 1, PICTURE[0] * PICTURE[1] * PICTURE[2])
    network.eval()
    inferred = network(x)
    network.train()
    x.requires_grad_(True)
    out = network(x)
    (out * records(seed + 2, OUTPUTS)).sum().backward()
    network.eval()
    after = network(x)
    lists = [t.detach().flatten().tolist() for t in (inferred, out, x.grad, after)]
    print(f"inline const Pictures pictures{{{seed}, " + ", ".join(listed(v) for v in lists) + "};")


def step_case(name, make, seed):
    network = mlp("batch", nn.ReLU)
    fill(network, seed)
    decay = [m.weight for m in modules(network) if isinstance(m, nn.Linear)]
    others = [p for p in network.parameters() if not any(p is d for d in decay)]
    optimizer = make([{"params": decay, "weight_decay": 0.1}, {"params": others, "weight_decay": 0}])
    for _ in range(5):
        optimizer.zero_grad()
        (network(records(seed + 1, INPUTS)) * records(seed + 2, OUTPUTS)).sum().backward()
        optimizer.step()
    print(f'    {{"{name}", {seed}, {listed(values_of(network))}}},')


print("""#pragma once
// Written by make_torch_cases.py with PyTorch 2.15.0. Records are rows.

#include <string>
#include <vector>

namespace torch_cases {

struct Forward {
    std::string name;
    unsigned seed;
    std::vector<double> inferred;
    std::vector<double> trained;
    std::vector<double> by_input;  ///< of the sum of outputs times the third draw
};
struct Pictures {
    unsigned seed;
    std::vector<double> inferred;  ///< before the running means have moved
    std::vector<double> trained;
    std::vector<double> by_input;
    std::vector<double> after;  ///< inferred when they have
};
struct Stepped {
    std::string name;
    unsigned seed;
    std::vector<double> values;  ///< after five steps
};

inline const std::vector<Forward> forward{""")
forward_case("mlp none relu", mlp("none", nn.ReLU), 11)
forward_case("mlp batch silu", mlp("batch", nn.SiLU), 21)
forward_case("mlp layer gelu", mlp("layer", Gelu), 31)
forward_case("resnet batch relu", resnet("batch", nn.ReLU), 41)
forward_case("resnet layer silu", resnet("layer", nn.SiLU), 51)
print("};\n\ninline const std::vector<Stepped> stepped{")
step_case("sgd", lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9), 61)
step_case("adam", lambda p: torch.optim.Adam(p, lr=0.01), 71)
step_case("adamw", lambda p: torch.optim.AdamW(p, lr=0.01), 81)
print("};\n")
picture_case(91)
print("\n}  // namespace torch_cases")
