"""The networks of `step_cost.py` in PyTorch, and a training step of torchjd on them.

It imports neither Keras nor TensorFlow, so that the memory of a process that runs it is PyTorch's alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

try:
    import torch
    from torchjd.aggregation import MGDA, Aggregator, CAGrad, NashMTL, PCGrad, UPGrad
    from torchjd.autojac import jac_to_grad, mtl_backward
except ModuleNotFoundError as error:
    raise SystemExit(
        f"This benchmark needs `{error.name}`, which is not installed. Install it with: pip install 'keras_mtl[bench]'"
    ) from error

# PyTorch loads Triton with the first optimizer, and crashes if TensorFlow is there before: this loads it now.
torch.compiler.reset()

UNITS = (256, 1024, 512, 128)
FILTERS = (3, 32, 32, 64, 64)
NUM_CLASSES = 10

# With the arguments that are defaults of ours, where torchjd has none.
AGGREGATORS: dict[str, Callable[[int], Aggregator]] = {
    "upgrad": lambda num_tasks: UPGrad(),
    "mgda": lambda num_tasks: MGDA(),
    "pcgrad": lambda num_tasks: PCGrad(),
    "cagrad": lambda num_tasks: CAGrad(c=0.5),
    "nash_mtl": lambda num_tasks: NashMTL(n_tasks=num_tasks),
}


class _Scaled(torch.nn.Module):
    """Pixels from 0..255 to 0..1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / 255


class Network(torch.nn.Module):
    """A shared trunk, and a linear head for each task: classification and regression in turn.

    Args:
        network: `"mlp"` or `"conv"`.
        num_tasks: the number of tasks.
    """

    def __init__(self, network: str, num_tasks: int) -> None:
        super().__init__()
        layers: list[torch.nn.Module] = []
        if network == "mlp":
            for inputs, outputs in zip(UNITS[:-1], UNITS[1:], strict=True):
                layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
            size = UNITS[-1]
        else:
            layers.append(_Scaled())
            for index, (inputs, outputs) in enumerate(zip(FILTERS[:-1], FILTERS[1:], strict=True)):
                if index:
                    layers.append(torch.nn.MaxPool2d(2))
                layers += [torch.nn.Conv2d(inputs, outputs, 3, padding=1), torch.nn.ReLU()]
            layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
            size = FILTERS[-1]
        self.trunk = torch.nn.Sequential(*layers)
        self.heads = torch.nn.ModuleList(
            torch.nn.Linear(size, NUM_CLASSES if index % 2 == 0 else 1) for index in range(num_tasks)
        )

    def losses(self, features: torch.Tensor, labels: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Each task's loss: the cross-entropy of integer labels, the mean squared error of others."""
        found = []
        for head, label in zip(self.heads, labels, strict=True):
            prediction = head(features)
            if label.is_floating_point():
                found.append(torch.nn.functional.mse_loss(prediction.squeeze(1), label))
            else:
                found.append(torch.nn.functional.cross_entropy(prediction, label))
        return found


def make_batch(network: str, num_tasks: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """A random batch of the shapes and ranges of `make_data` in `step_cost.py`."""
    generator = torch.Generator().manual_seed(0)
    if network == "mlp":
        x = torch.rand((256, 256), generator=generator)
    else:
        x = 255 * torch.rand((64, 3, 32, 32), generator=generator)
    labels = [
        torch.randint(NUM_CLASSES, (len(x),), generator=generator)
        if index % 2 == 0
        else torch.randn(len(x), generator=generator)
        for index in range(num_tasks)
    ]
    return x, labels


class Trainer:
    """A training step: plain, of the sum of the losses, or with an aggregator of torchjd.

    Args:
        network: `"mlp"` or `"conv"`.
        num_tasks: the number of tasks.
        aggregator: a key of `AGGREGATORS`, or None for the plain step.
        sequential: whether torchjd goes through the tasks one by one; its default is all at once, by `vmap`.
        sum_gramians: whether torchjd sums the Gramians of the parameters, and does not form the whole Jacobian, which
            is its default.
    """

    def __init__(
        self,
        network: str,
        num_tasks: int,
        aggregator: str | None = None,
        *,
        sequential: bool = False,
        sum_gramians: bool = False,
    ) -> None:
        torch.manual_seed(0)
        self.model = Network(network, num_tasks)
        self.aggregator = None if aggregator is None else AGGREGATORS[aggregator](num_tasks)
        self.chunk_size = 1 if sequential else None
        self.sum_gramians = sum_gramians
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, eps=1e-7)  # the values of Keras

    def backward(self, x: torch.Tensor, labels: Sequence[torch.Tensor]) -> None:
        """Puts the gradients where the optimizer finds them, as the documentation of torchjd shows it."""
        features = self.model.trunk(x)
        losses = self.model.losses(features, labels)
        if self.aggregator is None:
            torch.stack(losses).sum().backward()
            return
        mtl_backward(losses, features=features, parallel_chunk_size=self.chunk_size)
        # The argument is for aggregators of Gramians alone, which Nash-MTL is not in torchjd.
        options = {"optimize_gramian_computation": True} if self.sum_gramians else {}
        jac_to_grad(self.model.trunk.parameters(), self.aggregator, **options)

    def step(self, x: torch.Tensor, labels: Sequence[torch.Tensor]) -> None:
        """One step."""
        self.backward(x, labels)
        self.optimizer.step()
        self.optimizer.zero_grad()
