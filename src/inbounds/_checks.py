"""The vocabulary of every user-input error: the argument, the rule, what came.

Public functions validate with these at the door and trust their inputs inside. Each raises one
sentence, TypeError for a wrong kind of thing and ValueError for a wrong value.
"""

import reprlib
from collections.abc import Iterable, Sequence
from numbers import Integral, Real

import torch
from torch import Tensor

# What comes may be huge, or small and look huge: a document whose aliases multiply.
_REPR = reprlib.Repr()
_REPR.maxlist = _REPR.maxtuple = _REPR.maxset = _REPR.maxfrozenset = _REPR.maxdict = 20
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 80
_REPR.maxlevel = 3


def describe(value: object) -> str:
    """A short phrase for what came: 'a float32 tensor of shape (3, 4)', "the str 'loud'", 'None'."""
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    if value is None:
        return "None"
    return f"the {type(value).__name__} {shortened(value)}"


def shortened(value: object) -> str:
    """At most 60 characters of a value's repr, with only as much of it made."""
    try:
        text = " ".join(_REPR.repr(value).split())
    except ValueError:  # an integer of more digits than Python converts
        text = "(too many digits)"
    return text if len(text) <= 60 else text[:57] + "..."


def tensor(value: object, name: str) -> Tensor:
    """Refuse anything but a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor; got {describe(value)}")
    return value


def floating(value: object, name: str, *, rank: int = 0) -> Tensor:
    """Refuse anything but a real floating-point tensor of at least `rank` dimensions."""
    checked = tensor(value, name)
    if not checked.dtype.is_floating_point:
        raise TypeError(f"{name} must have a real floating-point dtype; got {describe(value)}")
    if checked.ndim < rank:
        raise ValueError(f"{name} must have at least {rank} dimension(s); got {describe(value)}")
    return checked


def integer(value: object, name: str, *, least: int, most: int | None = None) -> int:
    """Refuse anything but an integer in [least, most]."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer; got {describe(value)}")
    count = int(value)
    if count < least:
        raise ValueError(f"{name} must be at least {least}; got {shortened(count)}")
    if most is not None and count > most:
        raise ValueError(f"{name} must be at most {most}; got {shortened(count)}")
    return count


def boolean(value: object, name: str) -> bool:
    """Refuse anything but True and False: "no" counts as true in Python."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False; got {describe(value)}")
    return value


def number(
    value: object,
    name: str,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
) -> float:
    """Refuse anything but a finite real number in [least, most], or (above, most]."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a real number; got {describe(value)}")
    try:
        value = float(value)
    except OverflowError:
        raise ValueError(f"{name} must be within the range of a float; got {shortened(value)}") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"{name} must be finite; got {value}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be at least {least:g}; got {value:g}")
    if above is not None and value <= above:
        raise ValueError(f"{name} must be greater than {above:g}; got {value:g}")
    if most is not None and value > most:
        raise ValueError(f"{name} must be at most {most:g}; got {value:g}")
    return value


def choice(value: object, name: str, choices: Iterable[str | None]) -> str | None:
    """Refuse anything but one of the `choices`."""
    choices = tuple(choices)
    for option in choices:
        if type(value) is type(option) and value == option:
            return option
    listed = ", ".join(repr(option) for option in choices)
    raise ValueError(f"{name} must be one of {listed}; got {describe(value)}")


def broadcastable(value: Tensor, name: str, shape: Sequence[int], target: str) -> Tensor:
    """Refuse a tensor that does not broadcast to `shape`, the shape of `target`; return it expanded."""
    try:
        return value.expand(tuple(shape))
    except RuntimeError:
        raise ValueError(
            f"{name} must broadcast to the shape of {target}, {tuple(shape)}; got {describe(value)}"
        ) from None


def same_device(value: Tensor, name: str, other: Tensor, target: str) -> Tensor:
    """Refuse a tensor on another device than `other`."""
    if value.device != other.device:
        raise ValueError(
            f"{name} must be on the device of {target}, {other.device}; got one on {value.device}"
        )
    return value


def violations(broken: Tensor) -> str:
    """Where a rule is broken: 'violated at 3 of 640 entries, first at (2, 17)'. `broken` is boolean."""
    first = tuple(torch.nonzero(broken)[0].tolist())
    return f"violated at {int(broken.sum())} of {broken.numel()} entries, first at {first}"
