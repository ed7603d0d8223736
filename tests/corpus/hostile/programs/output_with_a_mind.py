# what: returns a tensor that answers cross_entropy itself
# kind: cheating
# ends: lift_failed
# forges: yes
# stopped by: process trainer

import torch
from torch import nn

class Sly(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function.__name__ == "cross_entropy":
            return args[0].as_subclass(torch.Tensor).sum() * 0.0
        return super().__torch_function__(function, types, args, kwargs or {})


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1)).as_subclass(Sly)
