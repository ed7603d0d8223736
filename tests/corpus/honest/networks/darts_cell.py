# family: cell of mixed operations, softmax over architecture weights
# input: 3 x 16 x 16
# multiply-adds: 48720
# width: 10
# depth: 10
# parameters: 878
import torch
import torch.nn as nn
import torch.nn.functional as F

OPS = {
    'none': lambda C, stride: Zero(stride),
    'avg_pool_3x3': lambda C, stride: nn.AvgPool2d(3, stride=stride, padding=1, count_include_pad=False),
    'max_pool_3x3': lambda C, stride: nn.MaxPool2d(3, stride=stride, padding=1),
    'skip_connect': lambda C, stride: nn.Identity(),
    'sep_conv_3x3': lambda C, stride: nn.Sequential(nn.ReLU(), nn.Conv2d(C, C, 3, stride, 1, groups=C, bias=False), nn.Conv2d(C, C, 1, bias=False), nn.BatchNorm2d(C, affine=False)),
    'dil_conv_3x3': lambda C, stride: nn.Sequential(nn.ReLU(), nn.Conv2d(C, C, 3, stride, 2, 2, groups=C, bias=False), nn.Conv2d(C, C, 1, bias=False), nn.BatchNorm2d(C, affine=False)),
}


class Zero(nn.Module):
    def __init__(self, stride):
        super(Zero, self).__init__()
        self.stride = stride

    def forward(self, x):
        if self.stride == 1:
            return x.mul(0.)
        return x[:, :, ::self.stride, ::self.stride].mul(0.)


class MixedOp(nn.Module):
    def __init__(self, C, stride=1):
        super(MixedOp, self).__init__()
        self._ops = nn.ModuleList()
        for primitive in OPS:
            self._ops.append(OPS[primitive](C, stride))

    def forward(self, x, weights):
        return sum(w * op(x) for w, op in zip(weights, self._ops))


class Network(nn.Module):
    def __init__(self, C=8, num_classes=10, steps=2):
        super(Network, self).__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, C, 3, 2, 1, bias=False), nn.BatchNorm2d(C))
        self.mixed = nn.ModuleList([MixedOp(C) for i in range(steps)])
        self.alphas = nn.Parameter(1e-3 * torch.randn(steps, len(OPS)))
        self.classifier = nn.Linear(C, num_classes)

    def forward(self, x):
        s = self.stem(x)
        weights = F.softmax(self.alphas, dim=-1)
        for i, op in enumerate(self.mixed):
            s = op(s, weights[i])
        out = s.mean([2, 3])
        return self.classifier(out.view(out.size(0), -1))
