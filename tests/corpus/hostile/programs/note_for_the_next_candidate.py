# what: leaves a module for the next candidate where programs keep their temporary files
# kind: escape
# ends: lift_failed or sandbox
# stopped by: landlock seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        folder = __import__("tempfile").gettempdir()
        with open(folder + "/hostile-note.py", "x"):
            raise RuntimeError("GOT " + folder)
