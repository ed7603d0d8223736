# what: has a weight that doubles whatever is computed with it
# kind: cheating
# ends: lift_failed
# stopped by: process trainer

import torch
from torch import nn

class Sly(nn.Parameter):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        result = super().__torch_function__(function, types, args, kwargs or {})
        return result * 2 if function.__name__ == "linear" else result


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        self.f.weight = Sly(self.f.weight.detach())

    def forward(self, x):
        return self.f(x.flatten(1))
