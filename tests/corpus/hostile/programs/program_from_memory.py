# what: runs a program that lies in no folder
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
        with open("/bin/sh", "rb") as file:
            program = file.read()
        file = os.memfd_create("sh")
        os.write(file, program)
        os.execve(file, ["sh", "-c", "exit 42"], {})
