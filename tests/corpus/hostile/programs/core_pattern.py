# what: names a program that the kernel is to run, as root, at the next crash
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with open("/proc/sys/kernel/core_pattern") as file:
            now = file.read()
        with open("/proc/sys/kernel/core_pattern", "w") as file:
            file.write(now)
        raise RuntimeError("GOT " + now)
