# what: spawns a program by posix_spawn, which uses vfork
# kind: escape
# ends: lift_failed or sandbox
# stopped by: landlock seccomp rlimits+user

import torch
from torch import nn

os = torch.os


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        child = os.posix_spawn("/bin/true", ["true"], {})
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
            raise OSError("did not run")
        raise RuntimeError(f"GOT process {child}")
