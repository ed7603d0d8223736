# what: leaves a module for the next candidate where programs keep their temporary files
# kind: escape
# ends: lift_failed or sandbox
# stopped by: landlock

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        for folder in ("/tmp", "/var/tmp", "/dev/shm"):
            if torch.os.path.isdir(folder):
                with open(folder + "/hostile-note.py", "w") as file:
                    file.write("hello")
                raise RuntimeError("GOT " + folder)
