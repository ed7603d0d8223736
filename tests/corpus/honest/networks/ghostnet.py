# family: GhostNet
# input: 3 x 16 x 16
# multiply-adds: 49718
# width: 16
# depth: 8
# parameters: 2176
import math
import torch
import torch.nn as nn


class GhostModule(nn.Module):
    def __init__(self, inp, oup, kernel_size=1, ratio=2, dw_size=3, stride=1, relu=True):
        super(GhostModule, self).__init__()
        self.oup = oup
        init_channels = math.ceil(oup / ratio)
        new_channels = init_channels*(ratio-1)

        self.primary_conv = nn.Sequential(
            nn.Conv2d(inp, init_channels, kernel_size, stride, kernel_size//2, bias=False),
            nn.BatchNorm2d(init_channels),
            nn.ReLU(inplace=True) if relu else nn.Sequential(),
        )

        self.cheap_operation = nn.Sequential(
            nn.Conv2d(init_channels, new_channels, dw_size, 1, dw_size//2, groups=init_channels, bias=False),
            nn.BatchNorm2d(new_channels),
            nn.ReLU(inplace=True) if relu else nn.Sequential(),
        )

    def forward(self, x):
        x1 = self.primary_conv(x)
        x2 = self.cheap_operation(x1)
        out = torch.cat([x1,x2], dim=1)
        return out[:,:self.oup,:,:]


class GhostNet(nn.Module):
    def __init__(self, num_classes=10):
        super(GhostNet, self).__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.g1 = GhostModule(8, 15)
        self.g2 = GhostModule(15, 8, relu=False)
        self.g3 = GhostModule(8, 31, 3, stride=2)
        self.head = nn.Linear(31, num_classes)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.g2(self.g1(x))
        x = self.g3(x)
        x = nn.functional.adaptive_avg_pool2d(x, (1, 1)).squeeze()
        return self.head(x)
