# what: starts two hundred threads with small stacks
# kind: resources
# ends: lift_failed or sandbox
# stopped by: seccomp rlimits+user

from torch import nn

threading = __import__("threading")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        threading.stack_size(1 << 16)
        wait = threading.Event().wait
        for _ in range(200):
            threading.Thread(target=wait, daemon=True).start()
        raise RuntimeError("GOT 200 threads")
