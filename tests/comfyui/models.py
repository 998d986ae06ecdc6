"""Models that ComfyUI loads and that give pictures: real layouts with weights drawn so that signals keep their size."""
import json
import math
import re
from pathlib import Path

import torch
from safetensors.torch import save_file

LAYOUTS = Path(__file__).resolve().parents[2] / "app" / "layouts"
TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}
NORM = re.compile(r"(norm\w*|ln_\w+|in_layers\.0|out_layers\.0|(^|\.)out\.0)\.weight$")
EXAMPLES = {  # what the example workflows name, and which of ours stands for it
    "checkpoints/v1-5-pruned-emaonly.safetensors": "checkpoints/tiny0.safetensors",
    "diffusion_models/v1-5-unet.safetensors": "diffusion_models/unet.safetensors",
    "text_encoders/clip_l.safetensors": "text_encoders/clip3.safetensors",
    "vae/vae-ft-mse-840000-ema-pruned.safetensors": "vae/vae.safetensors",
}
UNET, VAE = "model.diffusion_model.", "first_stage_model."


def layout(name, prefix=""):
    """{tensor: (type, shape)} of what begins with the prefix, without it. name: one of app/layouts, or a .json file."""
    path = Path(name) if str(name).endswith(".json") else LAYOUTS / f"{name}.json"
    tensors = json.loads(path.read_text())["tensors"]
    return {
        tensor.removeprefix(prefix): (TYPES[facts["dtype"]], facts["shape"])
        for tensor, facts in tensors.items()
        if tensor.startswith(prefix)
    }


def draw(name, dtype, shape, random):
    if not dtype.is_floating_point:
        return torch.arange(math.prod(shape)).reshape(shape)
    if "taesd_" in name and len(shape) < 2:
        return torch.full(shape, 0.5 if shape == [3] else 0.0, dtype=dtype)
    spread = 0.02 if len(shape) < 2 else math.sqrt((2.0 if "taesd_" in name else 1.0) / math.prod(shape[1:]))
    mean = 1.0 if NORM.search(name) else 4.6 if name.endswith("logit_scale") else 0.0
    return (torch.randn(shape, generator=random) * spread + mean).to(dtype)


def write(path, tensors, seed=0):
    random = torch.Generator().manual_seed(seed)
    made = {name: draw(name, dtype, list(shape), random).contiguous() for name, (dtype, shape) in tensors.items()}
    fresh = path.with_suffix(".fresh")
    save_file(made, fresh, metadata={"format": "pt"})
    fresh.replace(path)  # a new file under the old name, as a download does it
    return path


def write_all(folder):
    """A file or two of each kind in ComfyUI's model folders below a folder: about 1.4 GB."""
    for seed in (0, 1):
        write(folder / "checkpoints" / f"tiny{seed}.safetensors", layout("sd15-tiny"), seed)
    write(folder / "diffusion_models" / "unet.safetensors", layout("sd15-tiny", UNET), 2)
    for seed in (3, 4):
        write(folder / "text_encoders" / f"clip{seed}.safetensors", layout("clip_l"), seed)
    write(folder / "vae" / "vae.safetensors", layout("sd15", VAE), 5)
    torch.save({name: tensor for name, tensor in _tensors(layout("sd15", VAE), 5)}, folder / "vae" / "vae.pt")
    for name, ours in EXAMPLES.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(folder / ours)
    write_lora(folder / "loras" / "lora.safetensors")


def _tensors(tensors, seed):
    random = torch.Generator().manual_seed(seed)
    return [(name, draw(name, dtype, list(shape), random)) for name, (dtype, shape) in tensors.items()]


def write_lora(path):
    """A LoRA of rank 4 for all attention of the tiny network, and for one layer of its text encoder."""
    random = torch.Generator().manual_seed(9)
    weights = {}
    for name, (_, shape) in layout("sd15-tiny", UNET).items():
        if re.search(r"attn\d\.to_[qkv]\.weight$", name):
            weights[f"diffusion_model.{name.removesuffix('.weight')}"] = shape
    weights["lora_te_text_model_encoder_layers_0_mlp_fc1"] = [3072, 768]
    tensors = {}
    for name, (rows, columns) in weights.items():
        tensors[f"{name}.lora_up.weight"] = torch.randn(rows, 4, generator=random) * 0.3
        tensors[f"{name}.lora_down.weight"] = torch.randn(4, columns, generator=random) * 0.3
    save_file(tensors, path)
