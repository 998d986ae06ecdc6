"""Model folders and configurations for the tests of `longshore preload`."""
import json

import checkpoints

FOLDERS = {"checkpoints": "checkpoint", "text_encoders": "encoder", "diffusion_models": "diffusion", "vae": "vae"}


def config(folder, settings=None, **models):
    """Writes a preload_config.json with those lists of entries and returns its path."""
    path = folder / "preload_config.json"
    document = {"version": "1.0", "models": models, "settings": settings or {"auto_gpu_load": False, "verbose": False}}
    path.write_text(json.dumps(document))
    return path


def write_folders(root):
    """One or two small models in each of the four folders, all with bytes of their own."""
    seed = 0
    for folder, stem in FOLDERS.items():
        for suffix in ("", "_2"):
            seed += 1
            tensors = {f"{stem}.{i}.weight": ("F16", [1000 + i, 33]) for i in range(5)}
            checkpoints.write(root / folder / f"{stem}{suffix}.safetensors", tensors, seed)
    return root


def four_kinds():
    """An entry of each kind, all of them enabled."""
    return {
        "checkpoints": [{"name": "checkpoint.safetensors", "cache_key": "", "enabled": True}],
        "text_encoders": [
            {"clip_names": ["encoder.safetensors", "encoder_2.safetensors"], "type": "sdxl", "device": "default",
             "cache_key": "", "enabled": True},
        ],
        "diffusion_models": [
            {"model_name": "diffusion.safetensors", "weight_dtype": "default", "cache_key": "", "enabled": True},
        ],
        "vaes": [{"vae_name": "vae.safetensors", "cache_key": "my own key", "enabled": True}],
    }  # fmt: skip
