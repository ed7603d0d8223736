# family: weight standardisation in a subclass of Conv2d
# input: 3 x 16 x 16
# by hand: a convolution whose weight is computed is one all the same; torch does not see it
# multiply-adds: 129664
# width: 16
# depth: 3
# parameters: 2090
import torch
import torch.nn as nn
import torch.nn.functional as F


class WSConv2d(nn.Conv2d):
    def forward(self, x):
        weight = self.weight
        weight_mean = weight.mean(dim=1, keepdim=True).mean(dim=2, keepdim=True).mean(dim=3, keepdim=True)
        weight = weight - weight_mean
        std = weight.view(weight.size(0), -1).std(dim=1).view(-1, 1, 1, 1) + 1e-5
        weight = weight / std.expand_as(weight)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class WSNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            WSConv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(),
            WSConv2d(8, 16, 3, stride=2, padding=1), nn.GroupNorm(4, 16), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
        )

    def forward(self, x):
        return self.net(x)
