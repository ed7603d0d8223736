"""Settings: presets, llmatic.toml and LLMATIC_* become one frozen `Settings`."""

from llmatic_daemon.config.loading import PRESETS, layered, load, preset_text, preset_values, restore
from llmatic_daemon.config.settings import Settings

__all__ = ["PRESETS", "Settings", "layered", "load", "preset_text", "preset_values", "restore"]
