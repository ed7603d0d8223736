# what: leaves a file where anybody may write
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap landlock seccomp rlimits

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with open(VICTIM["writable"] + "/note", "w") as file:
            file.write("hello")
        raise RuntimeError("GOT a note")
