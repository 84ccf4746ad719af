"""What holds for every least-squares problem: feasibility, the certificate, independence, equivariance."""

import torch
from hypothesis import given
from hypothesis import strategies as st

import inbounds
from properties.strategies import batches, boxes, dtypes, layouts, normal, scales, seeds, uniform


@st.composite
def problems(draw, deficient=False):
    """A (m, n), of full rank or of any below, and b (*batch, m, k)."""
    m, n, k = draw(st.integers(0, 9)), draw(st.integers(0, 9)), draw(st.integers(0, 4))
    seed, dtype, batch = draw(seeds), draw(dtypes), draw(batches)
    rank = draw(st.integers(0, max(0, min(m, n) - 1)))
    A = normal(seed, m, rank) @ normal(seed + 1, rank, n) if deficient else normal(seed, m, n)
    b = normal(seed + 2, *batch, m, k)
    return A.to(dtype), b.to(dtype)


def tolerance(dtype):
    return 1e-8 if dtype == torch.float64 else 1e-4


@given(problems(), layouts(), st.booleans())
def test_nnls_is_feasible_and_certified(problem, lay, batched):
    A, b = problem
    given_A = A.expand(*b.shape[:-2], *A.shape) if batched else A
    A_before, b_before = A.clone(), b.clone()
    x, info = inbounds.nnls(lay(given_A), lay(b), full_output=True)
    assert x.shape == (*b.shape[:-2], A.shape[-1], b.shape[-1])
    assert x.dtype == b.dtype
    assert (x >= 0).all()
    assert info.converged.all()
    assert (info.kkt <= tolerance(b.dtype)).all()
    torch.testing.assert_close(info.kkt, inbounds.kkt_residual(A, b, x), rtol=0, atol=tolerance(b.dtype))
    residual = torch.linalg.vector_norm(A @ x - b, dim=-2)
    torch.testing.assert_close(info.residual_norm, residual, rtol=1e-4, atol=1e-5)
    x.fill_(7.0)
    assert torch.equal(A, A_before)
    assert torch.equal(b, b_before)


@given(problems(), st.data())
def test_lsq_linear_is_feasible_and_certified(problem, data):
    A, b = problem
    lower, upper = data.draw(boxes(A.shape[-1], data.draw(seeds), A.dtype))
    x, info = inbounds.lsq_linear(A, b, (lower, upper), full_output=True)
    assert ((x >= lower[:, None]) & (x <= upper[:, None])).all()
    assert (info.kkt <= tolerance(b.dtype)).all()


@given(problems())
def test_a_column_does_not_know_its_neighbours(problem):
    A, b = problem
    x = inbounds.nnls(A, b)
    alone = [inbounds.nnls(A, b[..., j : j + 1]) for j in range(b.shape[-1])]
    if alone:
        torch.testing.assert_close(torch.cat(alone, dim=-1), x, rtol=0, atol=tolerance(b.dtype))


@given(problems(), scales)
def test_a_gain_passes_through(problem, gain):
    A, b = problem
    A, b = A.double(), b.double()
    x = inbounds.nnls(A, b)
    scaled = inbounds.nnls(A, gain * b)
    torch.testing.assert_close(scaled / gain, x, rtol=1e-7, atol=1e-7)


@given(problems(), seeds)
def test_scaling_columns_keeps_the_optimum(problem, seed):
    A, b = problem
    A, b = A.double(), b.double()
    D = 10 ** (uniform(seed, A.shape[-1]) * 8 - 4)
    _, info = inbounds.nnls(A * D, b, full_output=True)
    _, plain = inbounds.nnls(A, b, full_output=True)
    torch.testing.assert_close(info.residual_norm, plain.residual_norm, rtol=1e-7, atol=1e-7)


@given(problems())
def test_the_methods_agree(problem):
    A, b = problem
    A, b = A.double(), b.double()
    answers = [inbounds.nnls(A, b, method=method) for method in ("dense", "lbfgsb")]
    norms = [torch.linalg.vector_norm(A @ x - b, dim=-2) for x in answers]
    torch.testing.assert_close(norms[0], norms[1], rtol=1e-6, atol=1e-6)


@given(problems(deficient=True), st.data())
def test_a_deficient_matrix_is_solved_too(problem, data):
    A, b = problem
    box = data.draw(boxes(A.shape[-1], data.draw(seeds), A.dtype))
    for bounds in ((0.0, None), box):
        _, info = inbounds.lsq_linear(A, b, bounds, full_output=True)
        assert info.converged.all()
        assert (info.kkt <= tolerance(b.dtype)).all()


@given(problems(), st.data())
def test_moving_the_box_moves_the_answer(problem, data):
    A, b = (part.double() for part in problem)
    seed = data.draw(seeds)
    lower, upper = data.draw(boxes(A.shape[-1], seed, A.dtype))
    shift = normal(seed + 1, A.shape[-1])
    x = inbounds.lsq_linear(A, b, (lower, upper))
    moved = inbounds.lsq_linear(A, b + (A @ shift)[:, None], (lower + shift, upper + shift))
    # Of many optima the one nearest 0 is given, which moves otherwise; what they explain is one.
    torch.testing.assert_close(A @ moved, A @ (x + shift[:, None]), rtol=1e-7, atol=1e-7)


@given(problems(), seeds)
def test_permuted_problems_have_permuted_answers(problem, seed):
    A, b = (part.double() for part in problem)
    generator = torch.Generator().manual_seed(seed)
    rows, variables, columns = (torch.randperm(n, generator=generator) for n in (*A.shape, b.shape[-1]))
    x = inbounds.nnls(A, b)
    permuted = inbounds.nnls(A[rows][:, variables], b[..., rows, :][..., columns])
    torch.testing.assert_close(permuted, x[..., variables, :][..., columns], rtol=1e-6, atol=1e-6)


@given(problems())
def test_an_answer_is_the_nearest_to_itself(problem):
    A, b = (part.double() for part in problem)
    x = inbounds.nnls(A, b)
    torch.testing.assert_close(inbounds.nnls(A, b, prior=x), x, rtol=1e-7, atol=1e-7)
