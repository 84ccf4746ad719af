"""The limited-memory matrix of one row, B = θI − W M Wᵀ with W = [Y θS]. BLNZ (1995), section 3.

Kernels here take a `Memory` whose fields are one row's: S and Y (m, n) by slot, SY and SS (m, m) by age,
`head`, `held` and θ numbers. The middle matrix is never formed: with D = diag(SᵀY) and L its strictly lower
triangle, by age,

    M⁻¹ = ⎡ −D   Lᵀ  ⎤  and M v needs only the Cholesky factor of T = θSᵀS + L D⁻¹ Lᵀ.
          ⎣  L  θSᵀS ⎦

v and M v have 2·held entries: those of Y, oldest first, then those of θS.
"""

from inbounds._jit import VECTORISED, kernel
from inbounds.optim.kernels.linalg import cholesky, dot, fill, solve, solve_transposed


@kernel(inner=True)
def slot_of(j, head, pairs):
    """The slot of the j-th oldest pair, in a ring of `pairs` slots."""
    slot = head + j
    return slot - pairs if slot >= pairs else slot


@kernel(inner=True, fastmath=VECTORISED)
def factor_middle(memory, LD, T):
    """Sets LD = L D⁻¹ and T = U, θSᵀS + L D⁻¹ Lᵀ = UᵀU; False if that is not positive definite."""
    held, SY, SS, theta = memory.held, memory.SY, memory.SS, memory.theta
    for i in range(held):
        for k in range(i):
            LD[i, k] = SY[i, k] / SY[k, k]
        for j in range(i, held):
            total = theta * SS[i, j]
            for k in range(i):
                total += LD[i, k] * SY[j, k]
            T[i, j] = total
    return cholesky(T, 0, held)


@kernel(inner=True, fastmath=VECTORISED)
def times_middle(memory, LD, T, v, Mv):
    """Sets Mv = M v.  T p₂ = v₂ + L D⁻¹ v₁ and D p₁ = Lᵀ p₂ − v₁, the two rows of M⁻¹ p = v."""
    held, SY = memory.held, memory.SY
    p1, p2 = Mv[:held], Mv[held : 2 * held]
    for i in range(held):
        total = v[held + i]
        for k in range(i):
            total += LD[i, k] * v[k]
        p2[i] = total
    solve_transposed(T, 0, held, p2)
    solve(T, 0, held, p2)
    for i in range(held):
        p1[i] = -v[i] / SY[i, i]
    for i in range(1, held):
        for k in range(i):
            p1[k] += LD[i, k] * p2[i]


@kernel(inner=True)
def transposed_W_times(memory, vector, Wv):
    """Sets Wv = Wᵀ vector."""
    held = memory.held
    for j in range(held):
        slot = slot_of(j, memory.head, memory.S.shape[0])
        Wv[j] = dot(memory.Y[slot], vector)
        Wv[held + j] = memory.theta * dot(memory.S[slot], vector)


@kernel(inner=True, fastmath=VECTORISED)
def add_combination(memory, weights_Y, weights_S, vector):
    """Adds Y weights_Y + S weights_S to the vector."""
    for j in range(memory.held):
        slot = slot_of(j, memory.head, memory.S.shape[0])
        y, s = memory.Y[slot], memory.S[slot]
        a, b = weights_Y[j], weights_S[j]
        for i in range(vector.size):
            vector[i] += a * y[i] + b * s[i]


@kernel(inner=True)
def forget(memory, row):
    """Drop every pair of a row of the whole Memory: B = I again."""
    for j in range(memory.S.shape[1]):
        fill(memory.SY[row, j], 0.0)
        fill(memory.SS[row, j], 0.0)
    memory.head[row] = 0
    memory.held[row] = 0
    memory.theta[row] = 1.0


@kernel(inner=True, fastmath=VECTORISED)
def remember(memory, row, step, direction, g, g_before, curvature):
    """Add the pair s = step·d, y = g − g_before with sᵀy = curvature to a row of the whole Memory."""
    pairs = memory.S.shape[1]
    S, Y, SY, SS = memory.S[row], memory.Y[row], memory.SY[row], memory.SS[row]
    held, head = memory.held[row], memory.head[row]
    if held == pairs:
        head = slot_of(1, head, pairs)
        for i in range(held - 1):
            for j in range(held - 1):
                SY[i, j] = SY[i + 1, j + 1]
                SS[i, j] = SS[i + 1, j + 1]
    else:
        held += 1
    newest = held - 1
    slot = slot_of(newest, head, pairs)
    s, y = S[slot], Y[slot]
    for i in range(s.size):
        s[i] = step * direction[i]
        y[i] = g[i] - g_before[i]
    for j in range(newest):
        older = slot_of(j, head, pairs)
        SY[newest, j] = dot(s, Y[older])
        SY[j, newest] = dot(S[older], y)
        SS[newest, j] = SS[j, newest] = dot(s, S[older])
    SY[newest, newest] = curvature
    SS[newest, newest] = dot(s, s)
    memory.head[row], memory.held[row] = head, held
    memory.theta[row] = dot(y, y) / curvature
