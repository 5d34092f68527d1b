"""The parameters that are trained: optimizer, clipping, loss scaling, moving average, on one or several processes.

Parameters are float32 whatever the precision of the forward pass. Several processes hold all of them each (DDP), or
shard them (FSDP 2); see sharding.py.
"""

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, DistributedType
from torch import Tensor, nn

from .checkpoints import Checkpoint
from .plan import Plan
from .processes import processes
from .shard_files import read_into
from .sharding import gather, put, shard, shard_module

KNOWN = (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)
MOMENTS = ("exp_avg", "exp_avg_sq", "step", "momentum_buffer")
HIDDEN = ("blocks.", "vae.")  # in the names of the parameters of the transformer's blocks and of the VAE
LEAST_SIDE = 16  # of a kernel seen as a matrix: smaller ones, such as the one that makes colors, are AdamW's


class OptimizerState:
    """The way down of the parameters of `module` with requires_grad.

    model: the module to call, which averages gradients over processes; trained, ema: parameters and their moving
    averages by name. fill: gives sharded parameters that lie on the meta device their memory and their values.
    ValueError: no trained parameter, one that is not float32, fp16 on a CPU.
    """

    def __init__(self, module: nn.Module, plan: Plan, fill: Callable[[], None] | None = None):
        self.plan = plan
        # the precision is autocast's here; accelerate would patch the module's forward
        ddp = DistributedDataParallelKwargs(broadcast_buffers=False)
        processes(plan.timeout)
        self.accelerator = Accelerator(mixed_precision="no", kwargs_handlers=[ddp])
        kind = self.accelerator.device.type
        if self.accelerator.distributed_type not in KNOWN:
            raise ValueError(
                f"accelerate is set up for {self.accelerator.distributed_type.value}, which this trainer does not use. "
                "Start it for several GPUs or CPUs; shard in the plan shares the parameters out."
            )
        if plan.precision == "fp16" and kind == "cpu":
            raise ValueError("precision fp16 needs a GPU. Choose bf16 or no on this machine.")
        trained = trained_parameters(module)
        if not trained:
            raise ValueError("The task's module has no parameter with requires_grad: there is nothing to train.")
        coarse = [name for name, p in trained.items() if p.dtype != torch.float32]
        if coarse:
            raise ValueError(
                f"{len(coarse)} trained parameters are not float32, such as {coarse[0]} ({trained[coarse[0]].dtype}). "
                "Small steps vanish in coarser numbers: convert them with .float(), and set precision in the plan."
            )
        several = self.accelerator.num_processes > 1
        if plan.shard and several:
            shard_module(module, kind, plan.bf16_shards)
            if fill:
                fill()
            self.model: Any = module
        else:
            self.model = self.accelerator.prepare(module)
        self.trained = trained_parameters(module)
        self.ema = {name: p.detach().clone() for name, p in self.trained.items()} if plan.ema_decay else {}
        self.optimizers, self.optimized = _optimizers(self.trained, plan, kind)
        self.scaler = torch.amp.GradScaler(kind, enabled=plan.precision == "fp16")

    def precision(self) -> torch.autocast:
        """Return the context of a forward pass."""
        # the cache would hold a coarse copy of every weight of every process to the end of the pass
        kept = not self.plan.shard
        return torch.autocast(
            self.accelerator.device.type, self.plan.dtype, enabled=self.plan.precision != "no", cache_enabled=kept
        )

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of one of the losses of a step."""
        self.scaler.scale(loss.float() / self.plan.accumulate).backward()

    def gradient_norms(self) -> dict[str, Tensor]:
        """Return the norm of each parameter's gradient by name, on the device; before `step`, which clips them."""
        gradients = {name: p.grad for name, p in self.trained.items() if p.grad is not None}
        return dict(zip(gradients, torch._foreach_norm(list(gradients.values())), strict=True))

    def step(self, number: int) -> Tensor:
        """Move the parameters and their averages in step `number`; return the norm of the gradient."""
        for optimizer in self.optimizers:
            if isinstance(optimizer, KernelMuon):
                optimizer.take_gradients()
            self.scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(self.optimized, self.plan.clip_norm or math.inf)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.plan.rate(number)
            self.scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)
        self.scaler.update()
        if self.ema:
            # early averages would hold on to the untrained start
            decay = min(self.plan.ema_decay, (1 + number) / (10 + number))
            with torch.no_grad():
                torch._foreach_lerp_(list(self.ema.values()), list(self.trained.values()), 1 - decay)
        return gather(norm)

    @contextmanager
    def averaged(self) -> Generator[None]:
        """Have the moving averages, where there are any, in the parameters' place, and parts of the module callable."""
        kept = {name: self.trained[name].detach().clone() for name in self.ema}
        sharded = hasattr(self.model, "unshard")
        _copy(self.ema, self.trained)
        if sharded:
            self.model.unshard()
        try:
            yield
        finally:
            if sharded:
                self.model.reshard()
            _copy(kept, self.trained)

    def moments(self) -> dict[str, Tensor]:
        """Return the optimizers' moments as `<parameter>.<moment>`."""
        state = {p: moments for optimizer in self.optimizers for p, moments in optimizer.state.items()}
        found = (
            (name, kind, moment) for p, name in self.optimized.items() for kind, moment in state.get(p, {}).items()
        )
        return {f"{name}.{kind}": moment for name, kind, moment in found}

    def restore_shards(self, checkpoint: Checkpoint, process_group: Any) -> None:
        """Take over a checkpoint in shards, parameters included: each process reads what it holds."""
        adam: dict[str, Tensor] = {}
        for name, tensor in checkpoint.adam.items():
            parameter, _, kind = name.rpartition(".")
            like = torch.empty(tensor.shape) if kind == "step" else self.trained[parameter]
            adam[name] = torch.empty_like(like, requires_grad=False)
        read_into(
            cast(Path, checkpoint.shards), {"trained": self.trained, "ema": self.ema, "adam": adam}, process_group
        )
        self.restore(self.ema, adam, checkpoint.facts["scaler"])

    def restore(self, ema: Mapping[str, Tensor], adam: Mapping[str, Tensor], scaler: Mapping[str, float]) -> None:
        """Take over what a checkpoint keeps beside the parameters."""
        for name, average in self.ema.items():
            put(ema[name], average)
        for optimizer in self.optimizers:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            state = {number: _moments(adam, self.optimized[p], p) for number, p in enumerate(parameters)}
            state = {number: moments for number, moments in state.items() if moments}  # none without a gradient
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        self.scaler.load_state_dict(dict(scaler))


class KernelMuon(torch.optim.Muon):
    """Muon for matrices and for kernels of convolutions, each seen as a matrix with a row for every output channel."""

    def __init__(self, kernels: list[nn.Parameter], weight_decay: float):
        self.kernels, self.matrices = kernels, [nn.Parameter(kernel.detach().flatten(1)) for kernel in kernels]
        super().__init__(self.matrices, 0.0, weight_decay, adjust_lr_fn="match_rms_adamw")

    def take_gradients(self) -> None:
        """Take over the kernels' gradients; a step then moves the kernels, whose memory the matrices share."""
        for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
            matrix.grad, kernel.grad = None if kernel.grad is None else kernel.grad.flatten(1), None


def _optimizers(
    trained: Mapping[str, nn.Parameter], plan: Plan, kind: str
) -> tuple[list[torch.optim.Optimizer], dict[Tensor, str]]:
    """Return the optimizers, and the name of each tensor that they hold.

    AdamW for all parameters; or Muon for the matrices of the blocks and the VAE's kernels, with AdamW's rates, and
    AdamW for the rest.
    """
    hidden = {name: p for name, p in trained.items() if plan.optimizer == "muon" and _for_muon(name, p)}
    rest = {name: p for name, p in trained.items() if name not in hidden}
    optimizers: list[torch.optim.Optimizer] = []
    held = dict(trained)
    if hidden:
        muon = KernelMuon(list(hidden.values()), plan.weight_decay)
        optimizers.append(muon)
        held |= zip(hidden, muon.matrices, strict=True)
    if rest:
        fused = kind in ("cpu", "cuda")
        optimizers.append(torch.optim.AdamW(rest.values(), lr=0.0, weight_decay=plan.weight_decay, fused=fused))
    return optimizers, {p: name for name, p in held.items()}


def _for_muon(name: str, p: Tensor) -> bool:
    if not any(part in name for part in HIDDEN):
        return False
    return p.ndim == 2 or (p.ndim > 3 and min(len(p), p[0].numel()) >= LEAST_SIDE)


def _moments(stored: Mapping[str, Tensor], name: str, p: nn.Parameter) -> dict[str, Tensor]:
    """Return copies of the moments of a parameter; `step` is a number, all others are shaped as the parameter is."""
    found = {kind: stored[f"{name}.{kind}"] for kind in MOMENTS if f"{name}.{kind}" in stored}
    return {kind: moment.reshape(()).clone() if kind == "step" else shard(moment, p) for kind, moment in found.items()}


def trained_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters with requires_grad by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in source.items():
            target[name].copy_(tensor)
