# family: nn.Bilinear joins two towers
# input: 3 x 8 x 8
# by hand: torch does not count nn.Bilinear: 10 outputs of 16 x 12 pairs beside 4476, one layer more
# multiply-adds: 6396
# width: 16
# depth: 4
# parameters: 5574
import torch
import torch.nn as nn


class TwoTowers(nn.Module):
    def __init__(self):
        super().__init__()
        self.left = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.Tanh())
        self.right = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(36, 12))
        self.join = nn.Bilinear(16, 12, 10)

    def forward(self, x):
        return self.join(self.left(x), self.right(x))
