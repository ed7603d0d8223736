# family: two branches, each with its dropout
# input: 3 x 16 x 16
# multiply-adds: 62464
# width: 10
# depth: 3
# parameters: 11082
import torch
import torch.nn as nn
import torch.nn.functional as F


class TwoBranches(nn.Module):
    def __init__(self):
        super().__init__()
        self.left = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Dropout(0.3))
        self.right = nn.Sequential(nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(), nn.Dropout(0.3))
        self.fc = nn.Linear(16 * 64, 10)

    def forward(self, x):
        left = self.left(x)
        right = self.right(x)
        # concatenated the other way round
        x = torch.cat([right, left], dim=1)
        return self.fc(x.flatten(1))
