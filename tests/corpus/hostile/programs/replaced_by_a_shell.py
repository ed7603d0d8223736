# what: becomes a shell
# kind: escape
# ends: lift_failed or sandbox
# goal: exit code 42
# stopped by: landlock seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.os.execv("/bin/sh", ["sh", "-c", "exit 42"])
