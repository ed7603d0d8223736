# family: MLP-Mixer
# input: 3 x 16 x 16
# multiply-adds: 77984
# width: 32
# depth: 10
# parameters: 5402
import torch
from torch import nn
from functools import partial

pair = lambda x: x if isinstance(x, tuple) else (x, x)


class PreNormResidual(nn.Module):
    def __init__(self, dim, fn):
        super().__init__()
        self.fn = fn
        self.norm = nn.LayerNorm(dim)

    def forward(self, x):
        return self.fn(self.norm(x)) + x


def FeedForward(dim, expansion_factor = 2, dropout = 0., dense = nn.Linear):
    inner_dim = int(dim * expansion_factor)
    return nn.Sequential(
        dense(dim, inner_dim),
        nn.GELU(),
        nn.Dropout(dropout),
        dense(inner_dim, dim),
        nn.Dropout(dropout)
    )


class MLPMixer(nn.Module):
    def __init__(self, *, image_size = 16, channels = 3, patch_size = 4, dim = 16, depth = 2, num_classes = 10, dropout = 0.1):
        super().__init__()
        image_h, image_w = pair(image_size)
        assert (image_h % patch_size) == 0 and (image_w % patch_size) == 0, 'image must be divisible by patch size'
        num_patches = (image_h // patch_size) * (image_w // patch_size)
        chan_first, chan_last = partial(nn.Conv1d, kernel_size = 1), nn.Linear
        self.patch_size = patch_size
        self.embed = nn.Linear((patch_size ** 2) * channels, dim)
        self.blocks = nn.Sequential(*[nn.Sequential(
            PreNormResidual(dim, FeedForward(num_patches, 2, dropout, chan_first)),
            PreNormResidual(dim, FeedForward(dim, 2, dropout, chan_last))
        ) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x):
        b, c, h, w = x.shape
        p = self.patch_size
        # 'b c (h p1) (w p2) -> b (h w) (p1 p2 c)'
        x = x.reshape(b, c, h // p, p, w // p, p).permute(0, 2, 4, 3, 5, 1).reshape(b, (h // p) * (w // p), p * p * c)
        x = self.embed(x)
        x = self.blocks(x)
        x = self.norm(x).mean(dim=1)
        return self.head(x)
