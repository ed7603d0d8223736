# what: runs a program and reads what it says
# kind: escape
# ends: lift_failed or sandbox
# stopped by: landlock seccomp rlimits+user

import torch
from torch import nn

subprocess = __import__("subprocess")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        said = subprocess.run(["/bin/echo", "hello"], capture_output=True, check=True).stdout
        raise RuntimeError(f"GOT {said}")
