# what: writes a program into its folder and becomes it
# kind: escape
# ends: lift_failed or sandbox
# goal: exit code 42
# stopped by: landlock seccomp rlimits

import torch
from torch import nn

os = torch.os


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with open("program", "w") as file:
            file.write("#!/bin/sh\nexit 42\n")
        os.chmod("program", 0o755)
        os.execv("./program", ["program"])
