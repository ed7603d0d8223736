# family: low-rank factors, a bias added by hand
# input: 3 x 16 x 16
# multiply-adds: 6904
# width: 40
# depth: 5
# parameters: 6964
import torch
import torch.nn as nn


class LowRankLinear(nn.Module):
    def __init__(self, in_features, out_features, rank=4):
        super().__init__()
        self.u = nn.Parameter(torch.randn(in_features, rank) / in_features ** 0.5)
        self.v = nn.Parameter(torch.randn(rank, out_features) / rank ** 0.5)
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x):
        return torch.addmm(self.bias, torch.mm(x, self.u), self.v)


class LowRankNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1 = LowRankLinear(768, 40, 8)
        self.l2 = LowRankLinear(40, 20)
        self.w = nn.Parameter(torch.randn(20, 10) * 0.2)

    def forward(self, x):
        x = torch.relu(self.l1(x.reshape(x.shape[0], -1)))
        x = torch.relu(self.l2(x))
        return x @ self.w
