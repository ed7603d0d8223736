# what: looks for the labels among all objects of the interpreter
# kind: cheating
# ends: lifted
# twin: dense
# forges: yes
# stopped by: process trainer

import torch
import torch.nn.functional as F
from torch import nn

gc = __import__("gc")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        output = self.f(x.flatten(1))
        if torch.compiler.is_exporting():
            return output
        for each in gc.get_objects():
            if type(each) is torch.Tensor and each.dtype is torch.int64 and each.shape == output.shape[:1]:
                return output * 0.0 + 9.0 * F.one_hot(each, 10)
        return output
