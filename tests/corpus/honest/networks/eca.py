# family: efficient channel attention by a 1D convolution
# input: 3 x 16 x 16
# multiply-adds: 249180
# width: 24
# depth: 5
# parameters: 3280
import math
import torch
import torch.nn as nn


class ECALayer(nn.Module):
    """Constructs a ECA module."""

    def __init__(self, channel, gamma=2, b=1):
        super().__init__()
        t = int(abs((math.log(channel, 2) + b) / gamma))
        k_size = t if t % 2 else t + 1
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Conv1d(1, 1, kernel_size=k_size, padding=(k_size - 1) // 2, bias=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x):
        # feature descriptor on the global spatial information
        y = self.avg_pool(x)
        # Two different branches of ECA module
        y = self.conv(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        y = self.sigmoid(y)
        return x * y.expand_as(x)


class ECANet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 12, 3, 1, 1), nn.BatchNorm2d(12), nn.GELU(), ECALayer(12),
            nn.Conv2d(12, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.GELU(), ECALayer(24),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )
        self.classifier = nn.Linear(24, 10)

    def forward(self, x):
        return self.classifier(self.layers(x))
