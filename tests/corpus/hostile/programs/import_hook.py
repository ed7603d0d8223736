# what: replaces every module that is imported after it
# kind: escape
# ends: lifted or lift_failed
# twin: dense
# stopped by: process

import torch
from torch import nn

class Hook:
    def find_spec(self, name, path=None, target=None):
        raise ImportError(f"{name} is mine")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.sys.meta_path.insert(0, Hook())
        torch.sys.path.insert(0, torch.os.getcwd())
        torch.sys.modules.pop("json", None)
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))
