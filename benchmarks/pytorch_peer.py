"""Answer each line on stdin with the milliseconds of one eager PyTorch forward pass.

Run by `latency.py --peer`, in an environment of its own that has PyTorch:

    PYTHON benchmarks/pytorch_peer.py FILE.py:CLASS HEIGHT WIDTH THREADS
"""

import importlib.util
import sys
import time

import torch


def main() -> None:
    source, height, width, threads = sys.argv[1:]
    file, name = source.rsplit(":", 1)
    spec = importlib.util.spec_from_file_location("peer", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.set_num_threads(int(threads))
    network = getattr(module, name)().eval()
    image = torch.randn(1, 3, int(height), int(width))
    with torch.inference_mode():
        for _ in range(5):
            network(image)
        print("ready", flush=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            network(image)
            print((time.perf_counter() - start) * 1000, flush=True)


if __name__ == "__main__":
    main()
