# family: maxout
# input: 3 x 16 x 16
# multiply-adds: 148384
# width: 72
# depth: 4
# parameters: 38354
import torch
import torch.nn as nn


class Maxout(nn.Module):
    def __init__(self, d_in, d_out, pool_size):
        super().__init__()
        self.d_in, self.d_out, self.pool_size = d_in, d_out, pool_size
        self.lin = nn.Linear(d_in, d_out * pool_size)

    def forward(self, inputs):
        shape = list(inputs.size())
        shape[-1] = self.d_out
        shape.append(self.pool_size)
        max_dim = len(shape) - 1
        out = self.lin(inputs)
        m, i = out.view(*shape).max(max_dim)
        return m


class MaxoutNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.m1 = Maxout(8 * 64, 24, 3)
        self.m2 = Maxout(24, 16, 2)
        self.out = nn.Linear(16, 10)

    def forward(self, x):
        x = self.conv(x)
        a, b = torch.split(x, 8, dim=1)
        x = torch.max(a, b)
        x = nn.functional.max_pool2d(x, 2)
        x = self.m2(self.m1(x.view(x.size(0), -1)))
        return self.out(x)
