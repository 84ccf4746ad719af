"""Partials that a mel spectrogram gives away: a peak alone among its bands says exactly where it stands.

A steady sinusoid's spectrum is the main lobe of the window, wherever it stands. Two neighbouring filters
see it in a ratio that tells the place, and the filters around them see next to nothing. So where four bands
look as such a lobe would make them look, a smooth spectrum gives way to the lobe; elsewhere, among dense
harmonics and in noise, it stays.
"""

import functools
import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from inbounds.audio.melspec import MelSpec

PLACES = 8  # a bin, at which what the bank makes of a lobe is tabulated
FINE = 64  # points a bin of the lobe's own table
REACH = 12  # bins on either side that the lobe of a full-length window covers
LIKENESS = 0.25  # bands further than this from a lobe's, relatively, are no lone partial: by measurement


class Lobes(NamedTuple):
    """The window's main lobe, and what the bank makes of it at every place of a grid.

    Attributes:
        profile: |W|^power from its top on, FINE points a bin, 0 at the end.
        response: of the bank, its filters brought to a peak of 1; a silent band is added at either end.
        key: the pair of neighbouring bands that hears it most, plus the right one's share; it never falls.
        peaks: of the filters, 0 for empty ones.
        interval: how many filters have their peak at or below each bin.
    """

    profile: Float[Tensor, " points"]
    response: Float[Tensor, "places padded"]
    key: Float[Tensor, " places"]
    peaks: Float[Tensor, " n_mels"]
    interval: Int[Tensor, " n_stft"]

    def to(self, like: Tensor) -> "Lobes":
        """The same on a tensor's device and in its precision."""
        return Lobes(*(t.to(like) if t.is_floating_point() else t.to(like.device) for t in self))


class Partials(NamedTuple):
    """Lone partials, in the order of their frames, counted through the batch.

    Attributes:
        frame: the frame.
        pair: the lower of the two bands that hear it most.
        place: the bin, with its fraction.
        height: of the lobe's top.
        sure: from 0 to 1, how like a lobe the bands are: the share of the lobe that is taken.
    """

    frame: Int[Tensor, " p"]
    pair: Int[Tensor, " p"]
    place: Float[Tensor, " p"]
    height: Float[Tensor, " p"]
    sure: Float[Tensor, " p"]


@functools.lru_cache(maxsize=8)
def lobes(spec: MelSpec) -> Lobes:
    """The tables for a spec, in float64 on the CPU."""
    bank = spec.bank(dtype=torch.float64)
    window = spec.window_tensor(dtype=torch.float64)
    spectrum = torch.fft.rfft(window, spec.n_fft * FINE).abs() / window.sum()
    reach = min(math.ceil(REACH * spec.n_fft / len(window)), len(bank) - 1)
    profile = functional.pad(spectrum[: reach * FINE].pow(spec.power), (0, 1))

    peaks = bank.amax(dim=0)
    equal = bank / torch.where(peaks > 0, peaks, 1.0)
    response = _responses(equal, profile)
    tops = bank.argmax(dim=0).cummax(dim=0).values
    interval = torch.searchsorted(tops, torch.arange(len(bank)), right=True)
    return Lobes(profile, functional.pad(response, (1, 1)), _key(response), peaks, interval)


def _responses(
    bank: Float[Tensor, "n_stft n_mels"], profile: Float[Tensor, " points"]
) -> Float[Tensor, "places n_mels"]:
    """What the bank makes of a lobe at each place: correlated along the bins, for every place in a bin."""
    within = torch.arange(PLACES, dtype=bank.dtype) / PLACES
    reach = len(profile) // FINE
    offsets = torch.arange(-reach, reach + 2) - within[:, None]
    kernels = _profile_at(offsets.abs() * FINE, profile)
    padded = functional.pad(bank.mT[:, None], (reach, reach + 1))
    found = functional.conv1d(padded, kernels[:, None])  # (n_mels, PLACES, n_stft)
    return found.permute(2, 1, 0).flatten(0, 1)[: (len(bank) - 1) * PLACES + 1]


def _key(response: Float[Tensor, "places n_mels"]) -> Float[Tensor, " places"]:
    if response.shape[1] < 2:
        return response.new_zeros(len(response))
    most, pair = (response[:, :-1] + response[:, 1:]).max(dim=1)
    right = response.gather(1, pair[:, None] + 1)[:, 0]
    return (pair + right / most.clamp(min=torch.finfo(most.dtype).tiny)).cummax(dim=0).values


def lobe_at(
    place: Float[Tensor, " p"], profile: Float[Tensor, " points"], n_stft: int
) -> tuple[Int[Tensor, "p width"], Float[Tensor, "p width"]]:
    """The bins a lobe covers, and its values there; 0 for bins that are none."""
    reach = len(profile) // FINE
    bins = place.detach().round().long()[:, None] + torch.arange(-reach, reach + 1, device=place.device)
    value = _profile_at((bins - place[:, None]).abs() * FINE, profile)
    return bins.clamp(0, n_stft - 1), value * ((bins >= 0) & (bins < n_stft))


def _profile_at(point: Float[Tensor, "*shape"], profile: Float[Tensor, " points"]) -> Float[Tensor, "*shape"]:
    """The profile between its points, 0 beyond its end."""
    low = point.detach().long().clamp(max=len(profile) - 2)
    return torch.lerp(profile[low], profile[low + 1], (point - low).clamp(max=1))


def lone_partials(mel: Float[Tensor, "b time n_mels"], table: Lobes) -> Partials:
    """Where two bands louder than their neighbours, and those, are such as one lobe would make them."""
    heard = (mel / torch.where(table.peaks > 0, table.peaks, 1.0)).flatten(0, 1)
    pairs = heard[:, :-1] + heard[:, 1:]
    if not pairs.numel():
        none = torch.zeros(0, dtype=torch.long, device=mel.device)
        return Partials(none, none, mel.new_zeros(0), mel.new_zeros(0), mel.new_zeros(0))
    loudest = functional.max_pool1d(pairs.detach()[:, None], 5, stride=1, padding=2)[:, 0]
    frame, pair = torch.nonzero((pairs == loudest) & (pairs > 0), as_tuple=True)
    level = pairs[frame, pair]
    low, fraction = _between(table.key, pair + heard[frame, pair + 1] / level)

    around = pair[:, None] + torch.arange(4, device=pair.device)  # the band before the pair to that after
    seen = functional.pad(heard, (1, 1))[frame[:, None], around] / level[:, None]
    nearby = table.response[low[:, None], around], table.response[low[:, None] + 1, around]
    expected = torch.lerp(*nearby, fraction[:, None])
    gain = (seen * expected).sum(1) / expected.square().sum(1)
    unlike = (seen - gain[:, None] * expected).square().sum(1) / seen.square().sum(1)
    sure = (1 - unlike / LIKENESS**2).clamp(min=0)
    lone = torch.nonzero(sure > 0)[:, 0]  # leaves out what the table knows no place for, and is NaN
    return Partials(*(t[lone] for t in (frame, pair, (low + fraction) / PLACES, gain * level, sure)))


def tones_and_rest(
    energy: Float[Tensor, "b time n_stft"], partials: Partials, table: Lobes
) -> tuple[Float[Tensor, "b time n_stft"], Float[Tensor, "b time n_stft"]]:
    """The partials' lobes, and what they leave of a smooth spectrum."""
    frame, pair, place, height, sure = partials
    frames, n_stft = energy.shape[:-1].numel(), energy.shape[-1]
    # The pairs are at least three bands apart, so no interval between filters' peaks has two partials.
    kept = energy.new_ones(frames, len(table.peaks) + 1)
    for interval in range(3):
        kept = kept.index_put((frame, pair + interval), 1 - sure)
    rest = energy * kept[:, table.interval].reshape(energy.shape)

    bins, shape = lobe_at(place, table.profile, n_stft)
    lobe, tones = (height * sure)[:, None] * shape, energy.new_zeros(frames, n_stft)
    # One partial a frame at a time: sums of floats depend on the order, which threads would not keep.
    rank = torch.arange(len(frame), device=frame.device) - torch.searchsorted(frame, frame)
    for count in range(int(rank.max()) + 1 if len(rank) else 0):
        some = torch.nonzero(rank == count)[:, 0]
        tones.index_put_((frame[some, None], bins[some]), lobe[some], accumulate=True)
    return tones.reshape(energy.shape), rest


def _between(
    table: Float[Tensor, " places"], value: Float[Tensor, " p"]
) -> tuple[Int[Tensor, " p"], Float[Tensor, " p"]]:
    """Where a value lies in a table that never falls: the place below, and the fraction of the way on."""
    low = torch.searchsorted(table, value.detach(), right=True).sub(1).clamp(0, len(table) - 2)
    step = table[low + 1] - table[low]
    return low, ((value - table[low]) / torch.where(step > 0, step, 1.0)).clamp(0, 1)
