"""What a loader node is asked for: a kind of model, its files, and how it is built. Pure: no ComfyUI, no torch."""
from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

# kind -> the folder of ComfyUI that its files are in
FOLDERS = {
    "ckpt": "checkpoints",
    "unclip_ckpt": "checkpoints",
    "diffusion_model": "diffusion_models",
    "text_encoder": "text_encoders",
    "vae": "vae",
}
WEIGHT_DTYPES = ["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"]
NO_FILE = "None"


class Mode(str, Enum):
    """How a loader node uses the cache; the values are what its menu shows."""

    AUTO = "Auto"
    OVERRIDE = "Override Cache"
    READ_ONLY = "Read Only"


class KeyMissing(ValueError):
    """Read Only was asked for without a key."""


@dataclass(frozen=True)
class Recipe:
    """A model to build. Equal recipes of equal files give the same model, so they share it.

    files: names as ComfyUI's menus show them, relative to the folders of the kind.
    """

    kind: str
    files: tuple[str, ...]
    weight_dtype: str = "default"  # of a diffusion model
    type: str = ""  # of a text encoder
    device: str = "default"  # of a text encoder: default or cpu

    @property
    def folder(self) -> str:
        return FOLDERS[self.kind]

    @property
    def default_key(self) -> str:
        """The cache key where the user gives none; the same as in preload_config.json."""
        if self.kind == "text_encoder":
            return "_".join((*self.files, self.type, self.device))
        if self.kind == "diffusion_model":
            return f"{self.files[0]}_{self.weight_dtype}"
        return self.files[0]

    def key_for(self, given: "str | None", mode: Mode = Mode.AUTO) -> str:
        """The key to use when the user typed `given`. Raises KeyMissing."""
        given = (given or "").strip()
        if not given and mode is Mode.READ_ONLY:
            raise KeyMissing(
                "Mode 'Read Only' takes a model that is in the cache already, so it needs that model's key: fill in "
                "the key, or choose mode 'Auto'"
            )
        return given or self.default_key


def text_encoder(names: list[str], type: str, device: str = "default") -> Recipe:
    """The recipe of one to four text encoders that work as one. Raises ValueError for a file named twice."""
    files = tuple(name for name in names if name and name != NO_FILE)
    if not files:
        raise ValueError("choose at least one text encoder")
    for name in files:
        if files.count(name) > 1:
            raise ValueError(f"the text encoder {name!r} is chosen {files.count(name)} times; choose other files")
    return Recipe("text_encoder", files, type=type, device=device)


def number_key(number: int) -> str:
    """The key of data that was stored under a number; no other key looks like it."""
    return f"number:{number}"
