"""An operator that every transform of PyTorch's knows.

torch.compile and torch.export want a custom op, which they do not look into; torch.func's grad and jacrev
have no use for the gradient of a custom op, but take an autograd.Function. This is both.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active, _len_torch_dispatch_stack


class Operator:
    """A function of tensors and plain values that returns one tensor or a tuple of them.

    Args:
        name: of the custom op, "namespace::name".
        forward: the function, on plain tensors, annotated as `torch.library.custom_op` wants it.
        fake: the same, giving tensors of the right shapes only.
        setup_context, backward: as of an autograd.Function; backward consists of differentiable operations.
        vmap: (info, in_dims, *inputs) -> (outputs, their dimensions), as of an autograd.Function.
    """

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        *,
        fake: Callable[..., Any],
        setup_context: Callable[..., None],
        backward: Callable[..., tuple],
        vmap: Callable[..., tuple],
    ) -> None:
        self.custom_op = torch.library.custom_op(name, forward, mutates_args=())
        self.custom_op.register_fake(fake)
        self.custom_op.register_autograd(backward, setup_context=setup_context)
        self.custom_op.register_vmap(vmap)
        self.forward = forward
        self.function: Any = type(
            forward.__name__,
            (torch.autograd.Function,),
            {
                "forward": staticmethod(forward),
                "setup_context": staticmethod(setup_context),
                "backward": staticmethod(backward),
                "vmap": staticmethod(vmap),
            },
        )

    def __call__(self, *inputs: Any) -> Any:
        """The custom op where a compiler traces, else the autograd.Function, else the bare function."""
        tensors = [value for value in inputs if isinstance(value, Tensor)]
        if torch.compiler.is_compiling() or _len_torch_dispatch_stack() or not all(map(_is_plain, tensors)):
            return self.custom_op(*inputs)
        wanted = torch.is_grad_enabled() and any(value.requires_grad for value in tensors)
        if wanted or _are_functorch_transforms_active():
            return self.function.apply(*inputs)
        return self.forward(*inputs)


def _is_plain(value: Tensor) -> bool:
    return type(value) is Tensor or type(value) is torch.nn.Parameter
