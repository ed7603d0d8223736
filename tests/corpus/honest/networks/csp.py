# family: cross-stage partial network, Darknet style
# input: 3 x 16 x 16
# multiply-adds: 172784
# width: 24
# depth: 13
# parameters: 5458
import torch
import torch.nn as nn


class CBL(nn.Module):
    def __init__(self, c1, c2, k=1, s=1, act=True):
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, s, k // 2, bias=False)
        self.bn = nn.BatchNorm2d(c2)
        self.act = nn.LeakyReLU(0.1) if act is True else (act if isinstance(act, nn.Module) else nn.Identity())

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class Res(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.cv1, self.cv2 = CBL(c, c), CBL(c, c, 3, act=nn.SiLU())

    def forward(self, x):
        return x + self.cv2(self.cv1(x))


class CSP(nn.Module):
    def __init__(self, c1, c2, n=1, e=0.5):
        super().__init__()
        c_ = int(c2 * e)
        self.cv1 = CBL(c1, c_)
        self.cv2 = nn.Conv2d(c1, c_, 1, 1, bias=False)
        self.cv3 = nn.Conv2d(c_, c_, 1, 1, bias=False)
        self.cv4 = CBL(2 * c_, c2)
        self.bn = nn.BatchNorm2d(2 * c_)
        self.act = nn.LeakyReLU(0.1, inplace=True)
        self.m = nn.Sequential(*[Res(c_) for _ in range(n)])

    def forward(self, x):
        y1 = self.cv3(self.m(self.cv1(x)))
        y2 = self.cv2(x)
        return self.cv4(self.act(self.bn(torch.cat((y1, y2), dim=1))))


class SPP(nn.Module):
    def __init__(self, c1, c2, k=(3, 5)):
        super().__init__()
        self.cv1 = CBL(c1, c1 // 2)
        self.cv2 = CBL(c1 // 2 * (len(k) + 1), c2)
        self.m = nn.ModuleList([nn.MaxPool2d(kernel_size=x, stride=1, padding=x // 2) for x in k])

    def forward(self, x):
        x = self.cv1(x)
        return self.cv2(torch.cat([x] + [m(x) for m in self.m], 1))


class CSPNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(CBL(3, 8, 3, 2), CSP(8, 16, n=2), CBL(16, 16, 3, 2), SPP(16, 24))
        self.fc = nn.Linear(24, 10)

    def forward(self, x):
        x = self.layers(x)
        return self.fc(x.view(x.shape[0], x.shape[1], -1).max(dim=2)[0])
