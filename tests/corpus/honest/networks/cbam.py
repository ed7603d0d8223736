# family: CBAM, channel and spatial attention
# input: 3 x 16 x 16
# multiply-adds: 359088
# width: 24
# depth: 13
# parameters: 4790
import torch
import torch.nn as nn


class ChannelAttention(nn.Module):
    def __init__(self, in_planes, ratio=4):
        super(ChannelAttention, self).__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.max_pool = nn.AdaptiveMaxPool2d(1)

        self.fc = nn.Sequential(nn.Conv2d(in_planes, in_planes // ratio, 1, bias=False),
                               nn.ReLU(),
                               nn.Conv2d(in_planes // ratio, in_planes, 1, bias=False))
        self.sigmoid = nn.Sigmoid()

    def forward(self, x):
        avg_out = self.fc(self.avg_pool(x))
        max_out = self.fc(self.max_pool(x))
        out = avg_out + max_out
        return self.sigmoid(out)


class SpatialAttention(nn.Module):
    def __init__(self, kernel_size=7):
        super(SpatialAttention, self).__init__()
        self.conv1 = nn.Conv2d(2, 1, kernel_size, padding=kernel_size//2, bias=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x):
        avg_out = torch.mean(x, dim=1, keepdim=True)
        max_out, _ = torch.max(x, dim=1, keepdim=True)
        x = torch.cat([avg_out, max_out], dim=1)
        x = self.conv1(x)
        return self.sigmoid(x)


class CBAMNet(nn.Module):
    def __init__(self, num_classes=10):
        super(CBAMNet, self).__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16)
        self.ca1 = ChannelAttention(16)
        self.sa1 = SpatialAttention()
        self.conv2 = nn.Conv2d(16, 24, 3, padding=1, stride=2)
        self.bn2 = nn.BatchNorm2d(24)
        self.ca2 = ChannelAttention(24)
        self.sa2 = SpatialAttention(3)
        self.fc = nn.Linear(24, num_classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.ca1(x) * x
        x = self.sa1(x) * x
        x = torch.relu(self.bn2(self.conv2(x)))
        x = self.ca2(x) * x
        x = self.sa2(x) * x
        x = torch.mean(x, dim=[2, 3])
        return self.fc(x)
