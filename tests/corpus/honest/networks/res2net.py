# family: Res2Net, hierarchical splits
# input: 3 x 16 x 16
# multiply-adds: 88224
# width: 16
# depth: 7
# parameters: 1650
import math
import torch
import torch.nn as nn


class Bottle2neck(nn.Module):
    def __init__(self, inplanes, planes, baseWidth=4, scale=4):
        super(Bottle2neck, self).__init__()
        width = baseWidth
        self.conv1 = nn.Conv2d(inplanes, width*scale, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width*scale)
        self.nums = scale - 1
        convs = []
        bns = []
        for i in range(self.nums):
            convs.append(nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False))
            bns.append(nn.BatchNorm2d(width))
        self.convs = nn.ModuleList(convs)
        self.bns = nn.ModuleList(bns)
        self.conv3 = nn.Conv2d(width*scale, planes, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.width = width

    def forward(self, x):
        residual = x
        out = self.relu(self.bn1(self.conv1(x)))
        spx = torch.split(out, self.width, 1)
        for i in range(self.nums):
            if i == 0:
                sp = spx[i]
            else:
                sp = sp + spx[i]
            sp = self.convs[i](sp)
            sp = self.relu(self.bns[i](sp))
            if i == 0:
                out = sp
            else:
                out = torch.cat((out, sp), 1)
        out = torch.cat((out, spx[self.nums]), 1)
        out = self.bn3(self.conv3(out))
        out += residual
        return self.relu(out)


class Res2Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.block = Bottle2neck(16, 16)
        self.avgpool = nn.AvgPool2d(8)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        return self.fc(self.avgpool(self.block(self.stem(x))).view(-1, 16))
