# family: RepVGG, three branches that are summed
# input: 3 x 16 x 16
# multiply-adds: 117920
# width: 16
# depth: 11
# parameters: 4218
import torch
import torch.nn as nn


class RepVGGBlock(nn.Module):
    def __init__(self, in_channels, out_channels, stride=1, groups=1):
        super(RepVGGBlock, self).__init__()
        self.rbr_identity = nn.BatchNorm2d(num_features=in_channels) if out_channels == in_channels and stride == 1 else None
        self.rbr_dense = nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, stride, 1, groups=groups, bias=False), nn.BatchNorm2d(out_channels))
        self.rbr_1x1 = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, 0, groups=groups, bias=False), nn.BatchNorm2d(out_channels))
        self.nonlinearity = nn.ReLU()
        print(f'RepVGG Block, identity = {self.rbr_identity}')

    def forward(self, inputs):
        if self.rbr_identity is None:
            id_out = 0
        else:
            id_out = self.rbr_identity(inputs)
        return self.nonlinearity(self.rbr_dense(inputs) + self.rbr_1x1(inputs) + id_out)


class RepVGG(nn.Module):
    def __init__(self, num_classes=10, width=[8, 16], blocks=[2, 2]):
        super().__init__()
        self.stage0 = RepVGGBlock(3, width[0], stride=2)
        self.cur = width[0]
        for i, (w, n) in enumerate(zip(width, blocks)):
            stage = nn.Sequential(*[RepVGGBlock(self.cur if j == 0 else w, w, stride=2 if (j == 0 and i > 0) else 1, groups=1 + j) for j in range(n)])
            setattr(self, f'stage{i + 1}', stage)
            self.cur = w
        self.gap = nn.AdaptiveAvgPool2d(output_size=1)
        self.linear = nn.Linear(self.cur, num_classes)

    def forward(self, x):
        out = self.stage0(x)
        for i in range(1, 3):
            out = getattr(self, f'stage{i}')(out)
        out = self.gap(out)
        out = out.view(out.size(0), -1)
        return self.linear(out)
