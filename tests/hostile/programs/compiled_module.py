# what: leaves a compiled module in place of ours
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        py_compile = __import__("py_compile")
        with open("frames.py", "w") as file:
            file.write("raise SystemExit\n")
        py_compile.compile("frames.py", VICTIM["package"] + "/frames.pyc", doraise=True)
        raise RuntimeError("GOT a module")
