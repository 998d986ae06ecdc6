"""A small transformer with what is hard to stream: tied weights, a module used twice, weights of the root's own."""
import torch
from safetensors.torch import save_file
from torch import nn


class Block(nn.Module):
    def __init__(self, width, shared):
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, 4, batch_first=True)
        self.up, self.down, self.shared = nn.Linear(width, 4 * width), nn.Linear(4 * width, width), shared
        self.register_buffer("scale", torch.rand(width))

    def forward(self, x):
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0] * self.scale
        return x + self.shared(self.down(torch.nn.functional.gelu(self.up(x))))


class Net(nn.Module):
    def __init__(self, width=64, blocks=8):
        super().__init__()
        self.embed, self.position = nn.Embedding(100, width), nn.Parameter(torch.randn(1, 16, width))
        shared = nn.Linear(width, width)
        self.blocks = nn.ModuleList(Block(width, shared) for _ in range(blocks))
        self.recurrent, self.head = nn.LSTM(width, width, batch_first=True), nn.Linear(width, 100, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("steps", torch.arange(16.0), persistent=False)

    def forward(self, tokens, skip=()):
        x = self.embed(tokens) + self.position + self.steps[:, None]
        for number, block in enumerate(self.blocks):
            if number not in skip:
                x = block(x)
        return self.head(self.recurrent(x)[0])


def same_but_empty(module):
    """A module like it that has no weights yet: the parameters are on torch's meta device."""
    empty = Net(module.position.shape[2], len(module.blocks)).eval()
    head = empty.head
    for inner in empty.modules():
        for places in (inner._parameters, inner._buffers):
            for key, tensor in places.items():
                if tensor is not None and key != "steps":
                    places[key] = tensor.to("meta") if places is inner._buffers else nn.Parameter(tensor.to("meta"))
    head.weight = empty.embed.weight
    return empty


def write(module, path):
    """Each tensor once, as safetensors wants it; the bytes of all."""
    state = module.state_dict()
    of_data = {tensor.data_ptr(): name for name, tensor in reversed(state.items())}
    save_file({name: state[name] for name in of_data.values()}, path)
    return sum(state[name].nbytes for name in of_data.values())


def tokens(seed=0):
    return torch.randint(0, 100, (2, 16), generator=torch.Generator().manual_seed(seed))
