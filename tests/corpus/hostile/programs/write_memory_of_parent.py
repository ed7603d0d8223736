# what: opens the warm parent's memory, where its judgement of us happens
# kind: escape
# ends: lift_failed or sandbox
# stopped by: user landlock seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with open(f"/proc/{torch.os.getppid()}/mem", "r+b", buffering=0):
            raise RuntimeError("GOT the parent")
