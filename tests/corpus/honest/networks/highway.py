# family: highway network
# input: 3 x 8 x 8
# multiply-adds: 15680
# width: 32
# depth: 11
# parameters: 16010
import torch
import torch.nn as nn
import torch.nn.functional as F


class Highway(nn.Module):
    def __init__(self, size, num_layers, f=F.relu):
        super(Highway, self).__init__()
        self.num_layers = num_layers
        self.nonlinear = nn.ModuleList([nn.Linear(size, size) for _ in range(num_layers)])
        self.linear = nn.ModuleList([nn.Linear(size, size) for _ in range(num_layers)])
        self.gate = nn.ModuleList([nn.Linear(size, size) for _ in range(num_layers)])
        self.f = f

    def forward(self, x):
        """x: tensor with shape of [batch_size, size]"""
        for layer in range(self.num_layers):
            gate = torch.sigmoid(self.gate[layer](x))
            nonlinear = self.f(self.nonlinear[layer](x))
            linear = self.linear[layer](x)
            x = gate * nonlinear + (1 - gate) * linear
        return x


class HighwayNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(192, 32)
        self.highway = Highway(32, 3)
        self.out = nn.Linear(32, 10)

    def forward(self, x):
        return self.out(self.highway(torch.tanh(self.inp(x.view(x.size(0), -1)))))
