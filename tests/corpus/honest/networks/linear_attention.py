# family: linear attention by an elu feature map
# input: 3 x 16 x 16
# multiply-adds: 33184
# width: 48
# depth: 4
# parameters: 2026
import torch
import torch.nn as nn
import torch.nn.functional as F


def elu_feature_map(x):
    return F.elu(x) + 1


class LinearAttention(nn.Module):
    def __init__(self, dim, heads=2, eps=1e-6):
        super().__init__()
        self.heads, self.eps = heads, eps
        self.to_qkv = nn.Linear(dim, dim * 3, bias=False)
        self.to_out = nn.Linear(dim, dim)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = map(lambda t: t.reshape(b, n, self.heads, -1).transpose(1, 2), self.to_qkv(x).chunk(3, dim=-1))
        q, k = elu_feature_map(q), elu_feature_map(k)
        kv = k.transpose(-1, -2) @ v
        z = 1 / (q @ k.sum(dim=-2, keepdim=True).transpose(-1, -2) + self.eps)
        out = (q @ kv) * z
        return self.to_out(out.transpose(1, 2).reshape(b, n, d))


class LinearTransformer(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.embed = nn.Conv2d(3, dim, 4, 4)
        self.attn = LinearAttention(dim)
        self.norm = nn.LayerNorm(dim)
        self.fc = nn.Linear(dim, 10)

    def forward(self, x):
        x = self.embed(x).flatten(2).mT
        x = x + self.attn(self.norm(x))
        return self.fc(x.mean(1))
