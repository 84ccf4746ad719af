"""Phase gradient heap integration of one block of frames.

Follows: Průša, Balazs and Søndergaard (2017), Algorithm 1.
"""

import numpy as np

from inbounds._jit import kernel


@kernel()
def integrate(magnitude, order, time_step, bin_step, time_scale, bin_scale, tolerance, phase, known):
    """Spread phases from the loudest cell outwards, along the gradient, always at the loudest edge.

    Args:
        magnitude: (frames, bins), C-contiguous.
        order: its cells, the quietest first.
        time_step: (bins,), and bin_step, a number: the gradient of the phase of a steady tone in the
            middle of each bin, per frame and per bin.
        time_scale, bin_scale: what a slope of the log-magnitude over bins adds to the first, and one
            over frames to the second.
        tolerance: cells under this share of the maximum are left alone.
        phase: (frames, bins), written where `known` comes back true; `known` starts false.
    """
    frames, bins = magnitude.shape
    least = magnitude.max() * tolerance
    if not least > 0:
        return
    floor = max(least, np.finfo(magnitude.dtype).tiny) * 1e-3
    log = np.log(np.maximum(magnitude, floor))
    heap = np.empty(frames * bins, dtype=np.int32)
    keys = np.empty(frames * bins, dtype=magnitude.dtype)
    flat = magnitude.ravel()
    for place in range(order.size - 1, -1, -1):
        cell = order[place]
        if flat[cell] < least:
            return
        frame, bin = cell // bins, cell % bins
        if known[frame, bin]:
            continue
        known[frame, bin] = True
        phase[frame, bin] = 0
        size = _push(heap, keys, 0, cell, flat[cell])
        while size > 0:
            cell, size = _pop(heap, keys, size)
            frame, bin = cell // bins, cell % bins
            for turn in range(4):
                to_frame, to_bin = frame, bin
                if turn < 2:
                    to_frame += 2 * turn - 1
                else:
                    to_bin += 2 * turn - 5
                if to_frame < 0 or to_frame >= frames or to_bin < 0 or to_bin >= bins:
                    continue
                if known[to_frame, to_bin] or magnitude[to_frame, to_bin] < least:
                    continue
                if turn < 2:  # the trapezoidal rule along time, eq. (38)
                    slope = time_scale * (_over_bins(log, frame, bin) + _over_bins(log, to_frame, bin)) / 2
                    step = (to_frame - frame) * (time_step[bin] + slope)
                else:  # and along frequency
                    slope = bin_scale * (_over_frames(log, frame, bin) + _over_frames(log, frame, to_bin)) / 2
                    step = (to_bin - bin) * (bin_step + slope)
                phase[to_frame, to_bin] = phase[frame, bin] + step
                known[to_frame, to_bin] = True
                size = _push(heap, keys, size, to_frame * bins + to_bin, magnitude[to_frame, to_bin])


@kernel(inline="always")
def _over_bins(log, frame, bin):
    low, high = max(bin - 1, 0), min(bin + 1, log.shape[1] - 1)
    return (log[frame, high] - log[frame, low]) / max(high - low, 1)


@kernel(inline="always")
def _over_frames(log, frame, bin):
    low, high = max(frame - 1, 0), min(frame + 1, log.shape[0] - 1)
    return (log[high, bin] - log[low, bin]) / max(high - low, 1)


@kernel()
def _push(heap, keys, size, cell, key):
    """Add a cell to the heap, whose root has the largest key; returns the new size."""
    place = size
    while place > 0:
        parent = (place - 1) // 2
        if keys[parent] >= key:
            break
        heap[place], keys[place] = heap[parent], keys[parent]
        place = parent
    heap[place], keys[place] = cell, key
    return size + 1


@kernel()
def _pop(heap, keys, size):
    """Take the root away; returns it and the new size."""
    root, size = heap[0], size - 1
    last, key = heap[size], keys[size]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and keys[child + 1] > keys[child]:
            child += 1
        if key >= keys[child]:
            break
        heap[place], keys[place] = heap[child], keys[child]
        place = child
    heap[place], keys[place] = last, key
    return root, size
