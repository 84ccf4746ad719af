"""A binary heap of breakpoints, least first: two parallel arrays, keys and what they stand for.

Equal keys leave the heap in the order of Williams' heapsort (CACM algorithm 232), built by insertion, as in
the reference: of variables that reach their bounds together, the first to be fixed decides what stays free.
"""

from inbounds._jit import kernel


@kernel(inner=True)
def heapify(keys, values, count):
    """Order the first `count` entries as a heap, inserting one after the other."""
    for last in range(1, count):
        key, value = keys[last], values[last]
        child = last
        while child > 0:
            parent = (child - 1) >> 1
            if not key < keys[parent]:
                break
            keys[child], values[child] = keys[parent], values[parent]
            child = parent
        keys[child], values[child] = key, value


@kernel(inner=True)
def pop(keys, values, count):
    """Move the least of a heap of `count` entries to its end; the others remain a heap."""
    last = count - 1
    least_key, least_value = keys[0], values[0]
    key, value = keys[last], values[last]
    hole = 0
    child = 1
    while child < last:
        if child + 1 < last and keys[child + 1] < keys[child]:
            child += 1
        if not keys[child] < key:
            break
        keys[hole], values[hole] = keys[child], values[child]
        hole = child
        child = 2 * hole + 1
    keys[hole], values[hole] = key, value
    keys[last], values[last] = least_key, least_value
