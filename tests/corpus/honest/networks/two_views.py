# family: the image and its mirror share a network
# input: 3 x 16 x 16
# multiply-adds: 106512
# width: 12
# depth: 5
# parameters: 2470
import torch
import torch.nn as nn


class MirrorNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 12, 5, 2), nn.ReLU(), nn.Conv2d(12, 12, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.fc = nn.Linear(24, 10)

    def embed(self, x):
        return self.net(x).view(x.size(0), -1)

    def forward(self, x):
        a = self.embed(x)
        b = self.embed(torch.flip(x, dims=[3]))
        joined = torch.cat((a + b, torch.abs(a - b)), dim=1)
        return self.fc(joined)
