"""preload_config.json: which models are loaded when the server starts. Pure: no ComfyUI, no model file is looked for.

What is wrong with one entry is a problem in the list of problems, and the other entries still count: a server starts
with what it can. A file that is no JSON object raises ConfigError.
"""
from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterable

from .recipe import WEIGHT_DTYPES, Recipe, text_encoder

NAME = "preload_config.json"
VARIABLE = "LONGSHORE_PRELOAD_CONFIG"


class ConfigError(ValueError):
    """The file cannot be read as a configuration at all."""


@dataclass
class Item:
    recipe: Recipe
    key: str
    description: str = ""


@dataclass
class PreloadConfig:
    path: str = ""
    items: list[Item] = field(default_factory=list)
    auto_gpu_load: bool = False
    verbose: bool = False
    weights: str = "auto"
    problems: list[str] = field(default_factory=list)


def find(folders: Iterable[str]) -> str | None:
    """The configuration's path: what LONGSHORE_PRELOAD_CONFIG names, else the first of the folders that has one."""
    named = os.environ.get(VARIABLE)
    if named:
        return named
    paths = (os.path.join(folder, NAME) for folder in folders)
    return next((path for path in paths if os.path.isfile(path)), None)


def read(path: str) -> PreloadConfig:
    """Raises ConfigError, with the path and the place."""
    try:
        root = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(root, dict) or not isinstance(root.get("models"), dict):
        raise ConfigError(f'{path}: there is no object "models"')
    return _parse(root, path)


def _parse(root: dict[str, Any], path: str) -> PreloadConfig:
    config = PreloadConfig(path)
    settings = root.get("settings", {})
    for name in ("auto_gpu_load", "verbose"):
        value = settings.get(name, False)
        if isinstance(value, bool):
            setattr(config, name, value)
        else:
            config.problems.append(f"/settings/{name}: true or false is expected, not {value!r}")
    config.weights = settings.get("weights", "auto")
    if config.weights not in ("auto", "alias"):
        config.problems.append(f"/settings/weights: there is no {config.weights!r}, there are 'auto' and 'alias'")
        config.weights = "auto"
    for section, make in _SECTIONS.items():
        for index, entry in enumerate(root["models"].get(section, [])):
            _add(config, f"/models/{section}/{index}", entry, make)
    for section in root["models"].keys() - _SECTIONS.keys():
        config.problems.append(f"/models/{section}: there is no such list; there are {', '.join(_SECTIONS)}")
    return config


def _add(config: PreloadConfig, where: str, entry: Any, make: Any) -> None:
    try:
        if not isinstance(entry, dict):
            raise ValueError(f"an object is expected, not {entry!r}")
        recipe = make(entry)
        key = recipe.key_for(_text(entry, "cache_key"))
        other = next((item for item in config.items if item.key == key and item.recipe != recipe), None)
        if other:
            raise ValueError(f"the key {key!r} already stands for {', '.join(other.recipe.files)}")
    except ValueError as error:
        config.problems.append(f"{where}: {error}")
        return
    if entry.get("enabled", True):
        config.items.append(Item(recipe, key, _text(entry, "description")))


def _text(entry: dict[str, Any], name: str, default: str = "", allowed: Iterable[str] | None = None) -> str:
    value = entry.get(name, default)
    if not isinstance(value, str):
        raise ValueError(f"{name}: text is expected, not {value!r}")
    if allowed and value not in allowed:
        raise ValueError(f"{name}: there is no {value!r}, there are {', '.join(allowed)}")
    return value


def _file(entry: dict[str, Any], name: str) -> str:
    value = _text(entry, name)
    if not value:
        raise ValueError(f"{name}: the name of a file is expected")
    return value


def _text_encoder(entry: dict[str, Any]) -> Recipe:
    names = entry.get("clip_names")
    if not isinstance(names, list) or not 1 <= len(names) <= 4 or not all(isinstance(name, str) for name in names):
        raise ValueError("clip_names: a list of one to four file names is expected")
    type, device = _text(entry, "type", "stable_diffusion"), _text(entry, "device", "default", ["default", "cpu"])
    return text_encoder(names, type, device)


_SECTIONS = {
    "checkpoints": lambda entry: Recipe("ckpt", (_file(entry, "name"),)),
    "text_encoders": _text_encoder,
    "diffusion_models": lambda entry: Recipe(
        "diffusion_model",
        (_file(entry, "model_name"),),
        weight_dtype=_text(entry, "weight_dtype", "default", WEIGHT_DTYPES),
    ),
    "vaes": lambda entry: Recipe("vae", (_file(entry, "vae_name"),)),
}
