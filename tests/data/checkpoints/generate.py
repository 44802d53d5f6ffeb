"""Write the real PyTorch files of the checkpoint tests (random numbers; needs PyTorch).

    python tests/data/checkpoints/generate.py

`kinds_*.pth` hold one tensor of every kind, `kinds.npz` what they must be read as. `small_net*.pth`
hold one network of every layer kind, as a training checkpoint and as a pickled module;
`small_net.npz` its input, output and state dict.
"""

import enum
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from torch import nn

FOLDER = Path(__file__).parent


class Mode(enum.Enum):
    FAST = "fast"


class SmallNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.PReLU(8))
        self.depthwise = nn.Conv2d(8, 16, 3, padding=1, groups=8, bias=False)
        self.up = nn.ConvTranspose2d(16, 6, 2, stride=2)
        self.norm = nn.GroupNorm(3, 6)
        self.grouped = nn.Conv2d(6, 4, 3, padding=1, groups=2)
        self.signal = nn.Conv1d(4, 4, 3, padding=1)
        self.head = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5))
        self.activation = nn.functional.relu
        self.mode = Mode.FAST
        self.register_buffer("scratch", torch.zeros(2), persistent=False)

    def forward(self, x):
        x = self.grouped(self.norm(self.up(self.depthwise(self.stem(x)))))
        return self.head(self.signal(x.mean(3)).mean(2))


def kinds() -> dict[str, torch.Tensor]:
    base = torch.randn(6, 5)
    return {
        "float": torch.randn(3, 4),
        "double": torch.randn(3).double(),
        "half": torch.randn(7).half(),
        "bfloat16": torch.randn(5, 3).bfloat16(),
        "bfloat16_transposed": torch.randn(2, 3).bfloat16().t(),
        "int64": torch.tensor([[2**40, -5]]),
        "int32": torch.tensor([1, -2], dtype=torch.int32),
        "int8": torch.tensor([-3], dtype=torch.int8),
        "uint8": torch.tensor([250], dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "complex64": torch.randn(2, dtype=torch.complex64),
        "base": base,
        "transposed": base.t(),
        "view": base[1:4, ::2],
        "tail": base[5],
        "expanded": torch.randn(1, 3).expand(4, 3),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "channels_last": torch.randn(2, 3, 4, 2).to(memory_format=torch.channels_last),
        "parameter": nn.Parameter(torch.randn(2)),
    }


def arrays(state) -> dict[str, np.ndarray]:
    state = {name: tensor.detach() for name, tensor in state.items()}
    return {n: (t.float() if t.dtype == torch.bfloat16 else t).numpy() for n, t in state.items()}


def main() -> None:
    torch.manual_seed(0)
    tensors = kinds()
    torch.save(tensors, FOLDER / "kinds_zip.pth")
    torch.save(tensors, FOLDER / "kinds_legacy.pth", _use_new_zipfile_serialization=False)
    np.savez_compressed(FOLDER / "kinds.npz", **arrays(tensors))

    net = SmallNet()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.randn(4, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5)
    net.eval()
    checkpoint = {
        "epoch": 3,
        "state_dict": {f"module.{name}": tensor for name, tensor in net.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "best": np.float64(0.5),
        "losses": np.arange(3.0),
        "args": Namespace(lr=0.1, mode=Mode.FAST, out=Path("runs")),
        "seen": {"a", "b"},
        "device": torch.device("cpu"),
    }
    torch.save(checkpoint, FOLDER / "small_net_zip.pth")
    torch.save(checkpoint, FOLDER / "small_net_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(net, FOLDER / "small_net_module.pth")
    image = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        output = net(image)
    states = {f"state/{name}": array for name, array in arrays(net.state_dict()).items()}
    np.savez_compressed(
        FOLDER / "small_net.npz", image=image.numpy(), output=output.numpy(), **states
    )


if __name__ == "__main__":
    main()
