# family: gMLP, spatial gating
# input: 3 x 16 x 16
# multiply-adds: 61600
# width: 48
# depth: 8
# parameters: 4090
import torch
from torch import nn
import torch.nn.functional as F


class SpatialGatingUnit(nn.Module):
    def __init__(self, dim, seq_len):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.spatial_proj = nn.Conv1d(seq_len, seq_len, kernel_size=1)
        nn.init.constant_(self.spatial_proj.bias, 1.0)

    def forward(self, x):
        u, v = x.chunk(2, dim=-1)
        v = self.norm(v)
        v = self.spatial_proj(v)
        out = u * v
        return out


class gMLPBlock(nn.Module):
    def __init__(self, d_model, d_ffn, seq_len):
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.channel_proj1 = nn.Linear(d_model, d_ffn * 2)
        self.channel_proj2 = nn.Linear(d_ffn, d_model)
        self.sgu = SpatialGatingUnit(d_ffn, seq_len)

    def forward(self, x):
        residual = x
        x = self.norm(x)
        x = F.gelu(self.channel_proj1(x))
        x = self.sgu(x)
        x = self.channel_proj2(x)
        return x + residual


class gMLPForImageClassification(nn.Module):
    def __init__(self, patch_size=4, d_model=16, d_ffn=24, num_layers=2):
        super().__init__()
        num_patches = (16 // patch_size) ** 2
        self.patcher = nn.Conv2d(3, d_model, kernel_size=patch_size, stride=patch_size)
        self.model = nn.Sequential(*[gMLPBlock(d_model, d_ffn, num_patches) for _ in range(num_layers)])
        self.classifier = nn.Linear(d_model, 10)

    def forward(self, x):
        patches = self.patcher(x)
        batch_size, num_channels, _, _ = patches.shape
        patches = patches.permute(0, 2, 3, 1)
        patches = patches.view(batch_size, -1, num_channels)
        embedding = self.model(patches)
        embedding = embedding.mean(dim=1)
        return self.classifier(embedding)
