# family: hand-written masked attention with a buffer mask
# input: 3 x 8 x 8
# multiply-adds: 7416
# width: 12
# depth: 5
# parameters: 898
import math
import torch
import torch.nn as nn
from torch.nn import functional as F


class MaskedAttentionNet(nn.Module):
    def __init__(self, n_embd=12, block_size=8):
        super().__init__()
        self.embed = nn.Linear(24, n_embd)
        self.key = nn.Linear(n_embd, n_embd)
        self.query = nn.Linear(n_embd, n_embd)
        self.value = nn.Linear(n_embd, n_embd)
        self.register_buffer("mask", torch.tril(torch.ones(block_size, block_size)).view(1, block_size, block_size))
        self.head = nn.Linear(n_embd, 10)

    def forward(self, x):
        x = self.embed(x.permute(0, 2, 1, 3).flatten(2))
        B, T, C = x.size()
        k, q, v = self.key(x), self.query(x), self.value(x)
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.mask[:, :T, :T] == 0, float('-inf'))
        att = F.softmax(att, dim=-1)
        y = att @ v
        return self.head(y[:, -1])
