# family: FractalNet, joined by means, without drop path
# input: 3 x 16 x 16
# multiply-adds: 951168
# width: 12
# depth: 11
# parameters: 8090
import torch
import torch.nn as nn


def conv_bn(c_in, c_out):
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU())


class FractalBlock(nn.Module):
    def __init__(self, depth, c_in, c_out):
        super().__init__()
        self.depth = depth
        self.short = conv_bn(c_in, c_out)
        if depth > 1:
            self.first = FractalBlock(depth - 1, c_in, c_out)
            self.second = FractalBlock(depth - 1, c_out, c_out)

    def forward(self, x):
        out = self.short(x)
        if self.depth == 1:
            return out
        deep = self.second(self.first(x))
        return torch.stack([out, deep]).mean(0)


class FractalNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.b1 = FractalBlock(3, 3, 8)
        self.b2 = FractalBlock(2, 8, 12)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(12 * 4 * 4, 10)

    def forward(self, x):
        x = self.pool(self.b1(x))
        x = self.pool(self.b2(x))
        return self.fc(torch.flatten(x, 1))
