"""The model of the table `[torch]`, and what is known of the classes of `torch.optim`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

TORCH_SETTINGS = ("foreach", "fused", "capturable", "differentiable")
"""Arguments of torch's constructors that choose how a step is computed, not what."""

TORCH_CLASSES = (
    "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam",
    "RAdam", "RMSprop", "Rprop", "SGD", "SparseAdam",
)  # fmt: skip
"""The optimizers of `torch.optim`."""
TORCH_SCHEDULERS = (
    "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR",
    "LinearLR", "MultiStepLR", "OneCycleLR", "PolynomialLR", "StepLR",
)  # fmt: skip
"""The schedulers of `torch.optim.lr_scheduler` that are formulas of the step number."""


@dataclass(frozen=True, slots=True)
class Torch:
    """How the `torch.optim` class looks from outside; which scheduler of torch a schedule is.

    Attributes:
        class_name: Name of the class, in `torch.optim` if torch has it; "" if the spec's decides.
        arguments: Torch's argument → the names of the spec that make it up; a tuple if several.
        state: Name of a state → its key in `torch.optim`'s state.
        constants: Arguments that are fixed for this optimizer.
        switches: Option → hyperparameter that is zero when the option is off.
        zero_with: Option → hyperparameter that torch wants to be zero when the option is on.
        group: Further keys of torch's parameter groups that are fixed, and that loading a
            checkpoint sets as torch does; no arguments of torch's.
        signature: The arguments of torch's constructor in its order; those after `*` by name only.
        counter: Whether torch keeps the number of the step; if not, `t` is 1 or more than 1.
        eager: Whether torch makes the states in its constructor, not in the first step.
        refusals: Option → the error where what it needs is not there.
        later: Hyperparameters that torch's class has not had from the first, so that checkpoints
            may lack them.
        sparse: Torch's error for sparse gradients; "" for the usual one.
        tensor_betas: Whether the two `betas` of torch's class may be tensors, and such numbers
            exclude `foreach`.
        xla: Whether torch's class is capturable on XLA.
        until: Of a schedule, the hyperparameter that is the last step in which torch's is the same;
            "" for all steps.
    """

    class_name: str = ""
    arguments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, bool | float] = field(default_factory=dict)
    switches: Mapping[str, str] = field(default_factory=dict)
    zero_with: Mapping[str, str] = field(default_factory=dict)
    group: Mapping[str, bool | float] = field(default_factory=dict)
    signature: tuple[str, ...] = ()
    counter: bool = True
    eager: bool = False
    refusals: Mapping[str, str] = field(default_factory=dict)
    later: tuple[str, ...] = ()
    sparse: str = ""
    tensor_betas: bool = False
    xla: bool = True
    until: str = ""
