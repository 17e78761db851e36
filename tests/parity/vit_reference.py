"""Vision transformers of MoCo v3 in plain PyTorch, float32 or float64: an independent statement of what the library must
compute. Names are timm's. Every token goes through every block here; the class token is taken out at the end."""
import dataclasses

import torch
import torch.nn as nn
import torch.nn.functional as F

from reference import GroupedBatchNorm, Watch


@dataclasses.dataclass
class Config:
    arch: str = "vit_small"
    image_size: int = 32
    patch: int = 8
    depth: int = 2
    heads: int = 12
    channels: int = 48
    norm: str = "layer"

    @property
    def conv_stem(self):
        return "conv" in self.arch


def positions(config, dtype=torch.float64):
    """[1, 1+g*g, D]; the row of the patch in grid row y, column x: sin y, cos y, sin x, cos x, a quarter of D each."""
    grid, quarter = config.image_size // config.patch, config.channels // 4
    omega = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    rows = [torch.zeros(config.channels, dtype=torch.float64)]
    for y in range(grid):
        for x in range(grid):
            rows.append(torch.cat([torch.sin(y * omega), torch.cos(y * omega), torch.sin(x * omega),
                                   torch.cos(x * omega)]))
    return torch.stack(rows)[None].to(dtype)


class Attention(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = (part.reshape(n, t, self.heads, d // self.heads).transpose(1, 2)
                   for part in self.qkv(x).split(d, dim=2))
        weights = (q @ k.transpose(2, 3) * (d // self.heads) ** -0.5).softmax(dim=3)
        return self.proj((weights @ v).transpose(1, 2).reshape(n, t, d))


class Mlp(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class TokenBatchNorm(GroupedBatchNorm):
    """Batch norm over the images of a group and their tokens."""

    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.norm1 = nn.LayerNorm(config.channels, eps=1e-6)
        self.attn = Attention(config.channels, config.heads)
        self.norm2 = TokenBatchNorm(config.channels) if config.norm == "batch" else \
            nn.LayerNorm(config.channels, eps=1e-6)
        self.mlp = Mlp(config.channels)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class WatchedReLU(nn.Module):
    def __init__(self, watch):
        super().__init__()
        self.watch = watch

    def forward(self, x):
        return self.watch.relu(x)


class Patches(nn.Module):
    def __init__(self, config, watch):
        super().__init__()
        d = config.channels
        if not config.conv_stem:
            self.proj = nn.Conv2d(3, d, config.patch, config.patch)
            return
        widths, layers = [3, d // 8, d // 4, d // 2, d], []
        for i in range(4):
            layers += [nn.Conv2d(widths[i], widths[i + 1], 3, 2, 1, bias=False), GroupedBatchNorm(widths[i + 1]),
                       WatchedReLU(watch)]
        self.proj = nn.Sequential(*layers, nn.Conv2d(d, d, 1))

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class ViT(nn.Module):
    def __init__(self, config):
        super().__init__()
        d, tokens = config.channels, 1 + (config.image_size // config.patch) ** 2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, d))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, d), requires_grad=False)
        self.watch = Watch()
        self.patch_embed = Patches(config, self.watch)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.depth)])
        self.norm = nn.LayerNorm(d, eps=1e-6)

    def set_groups(self, groups):
        for module in self.modules():
            if isinstance(module, GroupedBatchNorm):
                module.groups = groups

    def forward(self, x):
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]
