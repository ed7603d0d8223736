# what: reads the search's database
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp

import torch
from torch import nn

sqlite3 = __import__("sqlite3")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        path = VICTIM["state"] + "/llmatic.sqlite"
        rows = sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute("select name from sqlite_master")
        raise RuntimeError(f"GOT {rows.fetchall()}"[:300])
