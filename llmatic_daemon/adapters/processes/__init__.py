"""Child processes: sandboxed lifters and trusted trainers."""
