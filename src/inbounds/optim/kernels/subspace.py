"""Subspace minimisation over the variables free at the Cauchy point. BLNZ (1995), section 5.1.

The direct primal method, as code 3.0 has it: with Morales and Nocedal's projected Newton point (2011).

With Z the unit columns of the free variables and A of the others,

    K = ⎡ −D − YᵀZZᵀY/θ   L_aᵀ − R_zᵀ ⎤ ,   L_a strictly lower part of SᵀAAᵀY,
        ⎣  L_a − R_z       θSᵀAAᵀS   ⎦      R_z upper part of SᵀZZᵀY,

factored as K = Uᵀ E U, E = diag(−I, I), by two Cholesky factors; the Newton direction in the subspace is
d = r/θ + Zᵀ W K⁻¹ Wᵀ Z r / θ².
"""

from inbounds._jit import VECTORISED, kernel
from inbounds.optim.kernels.linalg import cholesky, dot, solve, solve_transposed
from inbounds.optim.kernels.memory import add_combination, slot_of, times_middle, transposed_W_times

TILE = 256  # coordinates whose inner products are taken at a time, from the cache


@kernel(inner=True)
def subspace_minimum(x, g, lower, upper, memory, z, scratch):
    """Move z from the Cauchy point to the subspace minimiser; False where K has no factors."""
    newton = scratch.d
    if _count(scratch.free) == 0:
        return True
    _reduced_gradient(x, g, memory, z, newton, scratch)
    if not _factor_K(memory, scratch):
        return False
    _newton(memory, newton, scratch)
    if _project(lower, upper, z, newton, scratch) and _ascends(x, g, z):
        _truncate(lower, upper, z, newton, scratch)
    return True


@kernel(inner=True)
def _count(flags):
    count = 0
    for flag in flags:
        count += flag
    return count


@kernel(inner=True, fastmath=VECTORISED)
def _reduced_gradient(x, g, memory, z, r, scratch):
    """Sets r = −Z Zᵀ(g + θ(z − x) − W M c), zero where not free. Eq. (5.4)."""
    theta, held = memory.theta, memory.held
    Mc = scratch.Mw
    for i in range(x.size):
        r[i] = -theta * (z[i] - x[i]) - g[i]
    times_middle(memory, scratch.LD, scratch.T, scratch.c, Mc)
    for j in range(held, 2 * held):
        Mc[j] *= theta
    add_combination(memory, Mc[:held], Mc[held : 2 * held], r)
    for i in range(x.size):
        if not scratch.free[i]:
            r[i] = 0.0


@kernel(inner=True, fastmath=VECTORISED)
def _factor_K(memory, scratch):
    """scratch.K := U with UᵀEU = K; False where one of its two Cholesky factors does not exist."""
    K, theta, held = scratch.K, memory.theta, memory.held
    wide = 2 * held
    _inner_products(memory, scratch)
    for i in range(held):
        for j in range(i, held):
            K[i, j] /= theta
            K[held + i, held + j] *= theta
        K[i, i] += memory.SY[i, i]
    if not cholesky(K, 0, held):
        return False
    # the (1, 2) block becomes U₁₁⁻ᵀ(R_zᵀ − L_aᵀ), and its Gram matrix is added to the (2, 2) block
    for i in range(held):
        for j in range(held, wide):
            K[i, j] /= K[i, i]
        for k in range(i + 1, held):
            for j in range(held, wide):
                K[k, j] -= K[i, k] * K[i, j]
        for a in range(held, wide):
            for b in range(a, wide):
                K[a, b] += K[i, a] * K[i, b]
    return cholesky(K, held, wide)


@kernel(inner=True)
def _inner_products(memory, scratch):
    """Sets the upper triangles of K's blocks (1, 1) = YᵀZZᵀY and (2, 2) = SᵀAAᵀS, and (1, 2) = R_zᵀ − L_aᵀ.

    A tile of coordinates at a time: YᵀZZᵀY from all of them, the rest from those not free.
    """
    K, free, index, Y, S = scratch.K, scratch.free, scratch.order, scratch.Y, scratch.S
    held, n = memory.held, scratch.free.size
    for a in range(held):
        for b in range(held):
            K[a, b] = K[held + a, held + b] = 0.0
            K[a, held + b] = memory.SY[b, a] if b <= a else 0.0  # R_z is the upper part of SᵀY − SᵀAAᵀY
    for start in range(0, n, TILE):
        size = min(TILE, n - start)
        for a in range(held):
            slot = slot_of(a, memory.head, memory.S.shape[0])
            for i in range(size):
                Y[a, i] = memory.Y[slot, start + i] if free[start + i] else 0.0
        for a in range(held):
            for b in range(a, held):
                K[a, b] += dot(Y[a, :size], Y[b, :size])
        size = 0
        for i in range(start, min(start + TILE, n)):
            if not free[i]:
                index[size] = i
                size += 1
        if size == 0:
            continue
        for a in range(held):
            slot = slot_of(a, memory.head, memory.S.shape[0])
            for i in range(size):
                Y[a, i], S[a, i] = memory.Y[slot, index[i]], memory.S[slot, index[i]]
        for a in range(held):
            for b in range(held):
                K[a, held + b] -= dot(Y[a, :size], S[b, :size])
            for b in range(a, held):
                K[held + a, held + b] += dot(S[a, :size], S[b, :size])


@kernel(inner=True, fastmath=VECTORISED)
def _newton(memory, r, scratch):
    """From the reduced gradient r to the Newton direction, in place. Eq. (5.11), K for M⁻¹N."""
    theta, held, v, K = memory.theta, memory.held, scratch.w, scratch.K
    wide = 2 * held
    transposed_W_times(memory, r, v)
    solve_transposed(K, 0, wide, v)
    for j in range(held):
        v[j] = -v[j]
    solve(K, 0, wide, v)
    for j in range(held):
        v[j] /= theta
    add_combination(memory, v[:held], v[held:wide], r)
    for i in range(r.size):
        r[i] = r[i] / theta if scratch.free[i] else 0.0


@kernel(inner=True)
def _project(lower, upper, z, newton, scratch):
    """Sets z = P(z + newton), keeping the Cauchy point in scratch.cauchy; is a bound reached?"""
    reached = False
    for i in range(z.size):
        scratch.cauchy[i] = z[i]
        if scratch.free[i]:
            z[i] = min(max(z[i] + newton[i], lower[i]), upper[i])
            reached |= z[i] == lower[i] or z[i] == upper[i]
    return reached


@kernel(inner=True, fastmath=VECTORISED)
def _ascends(x, g, z):
    """Is z − x no descent direction?"""
    total = 0.0
    for i in range(x.size):
        total += (z[i] - x[i]) * g[i]
    return total > 0.0


@kernel(inner=True)
def _truncate(lower, upper, z, newton, scratch):
    """Sets z to the box's last point on the way from the Cauchy point along newton. Eq. (5.8)."""
    alpha, blocking = 1.0, -1
    for i in range(z.size):
        z[i] = scratch.cauchy[i]
        if not scratch.free[i] or newton[i] == 0.0:
            continue
        room = (upper[i] if newton[i] > 0.0 else lower[i]) - z[i]
        # the box is left before alpha: compared as products, for a tiny newton[i] must not divide
        if abs(newton[i]) * alpha > abs(room):
            alpha, blocking = room / newton[i], i
    for i in range(z.size):
        if scratch.free[i]:
            z[i] = min(max(z[i] + alpha * newton[i], lower[i]), upper[i])
    if blocking >= 0:
        z[blocking] = upper[blocking] if newton[blocking] > 0.0 else lower[blocking]
