# family: squeeze-excite in a residual network
# multiply-adds: 1016192
# width: 32
# depth: 8
# parameters: 28282
import torch
import torch.nn as nn
import torch.nn.functional as F


class SELayer(nn.Module):
    def __init__(self, channel, reduction=4):
        super(SELayer, self).__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channel, channel // reduction, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channel // reduction, channel, bias=False),
            nn.Sigmoid()
        )

    def forward(self, x):
        b, c, _, _ = x.size()
        y = self.avg_pool(x).view(b, c)
        y = self.fc(y).view(b, c, 1, 1)
        return x * y.expand_as(x)


class SEResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1)
        self.se = SELayer(16)
        self.conv3 = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.se2 = SELayer(32, reduction=8)
        self.fc = nn.Linear(32 * 8 * 8, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        residual = x
        x = self.se(F.relu(self.conv2(x)))
        x = x + residual
        x = self.se2(F.relu(self.conv3(x)))
        x = x.reshape(x.shape[0], -1)
        return self.fc(x)
