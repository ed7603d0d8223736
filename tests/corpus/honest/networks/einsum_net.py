# family: einsum everywhere
# input: 3 x 16 x 16
# by hand: einsum may copy its parameters, so not all are seen; of embed, q, k, v and out the widest bring 12
# multiply-adds: 24192
# width: 12
# depth: 5
# parameters: 1128
import torch
from torch import nn, einsum


class EinsumNet(nn.Module):
    def __init__(self, dim=12, heads=3):
        super().__init__()
        self.heads = heads
        self.embed = nn.Parameter(torch.randn(3, 16, dim) * 0.1)
        self.to_q = nn.Parameter(torch.randn(dim, heads, 4) * dim ** -0.5)
        self.to_k = nn.Parameter(torch.randn(dim, heads, 4) * dim ** -0.5)
        self.to_v = nn.Parameter(torch.randn(dim, heads, 4) * dim ** -0.5)
        self.to_out = nn.Parameter(torch.randn(heads, 4, 10) * 0.2)

    def forward(self, x):
        x = einsum('b c h w, c w d -> b h d', x, self.embed)
        q = einsum('b n d, d h e -> b h n e', x, self.to_q)
        k = einsum('b n d, d h e -> b h n e', x, self.to_k)
        v = einsum('b n d, d h e -> b h n e', x, self.to_v)
        sim = einsum('b h i e, b h j e -> b h i j', q, k) * 4 ** -0.5
        attn = sim.softmax(dim=-1)
        out = einsum('b h i j, b h j e -> b h i e', attn, v)
        return einsum('b h n e, h e o -> b n o', out, self.to_out).mean(dim=1)
