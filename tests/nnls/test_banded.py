"""The banded solver against SciPy, brute force and finite differences, and its engines against each other."""

import itertools

import numpy as np
import pytest
import scipy.optimize
import torch

from inbounds.audio.filters import mel_filter_bank
from inbounds.nnls import banded_cpu, banded_op, search
from inbounds.nnls.banded import bands, solve, solve_columns
from inbounds.nnls.cone import project
from inbounds.nnls.newton import Choice

BANKS = {
    "16k/400/80": (201, 80, 16000, "htk", None),  # rank 76
    "16k/400/128": (201, 128, 16000, "htk", None),  # torchaudio's defaults: rank 107, four filters empty
    "22.05k/1024/80": (513, 80, 22050, "slaney", "slaney"),
    "44.1k/2048/128": (1025, 128, 44100, "slaney", "slaney"),
    "48k/2048/256": (1025, 256, 48000, "htk", None),  # rank 235, two filters empty
}
MORE = {"201/40": (201, 40, 16000, "htk", None), "201/80 above 2 kHz": (201, 80, 16000, "htk", None, 2000.0)}
WAYS = [
    ("envelope", "quadratic"),
    ("flat", "quadratic"),
    ("envelope", "kl"),
    ("envelope", "is"),
    ("flat", "kl"),
    ("flat", "is"),
]


@pytest.fixture(params=BANKS)
def bank(request):
    n_stft, n_mels, sample_rate, scale, norm, *f_min = (BANKS | MORE)[request.param]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inbounds.audio.filters._warn_if_deficient", lambda bank: None)
        bank = mel_filter_bank(
            n_stft, n_mels, sample_rate, f_min=sum(f_min), mel_scale=scale, norm=norm, dtype=torch.float64
        )
    return bank.mT.contiguous()


def spectra(n, frames, rng, power=1):
    """Smooth envelopes falling by 60 dB, with noise and partials: what a magnitude spectrogram is like."""
    t = torch.linspace(0.0, 1.0, n, dtype=torch.float64)[:, None]
    tilt = torch.rand(frames, generator=rng, dtype=torch.float64) * 8.0
    grain = torch.randn(n, frames, generator=rng, dtype=torch.float64).abs() + 0.01
    comb = (
        1.0
        + 5.0 * torch.cos(t * torch.linspace(60.0, 300.0, frames, dtype=torch.float64)).clamp(min=0.0) ** 8
    )
    return (torch.exp(-tilt * t) * grain * comb) ** power


def noisy(bank, frames, rng, amount, power=1):
    b = bank @ spectra(bank.shape[1], frames, rng, power)
    return b * torch.exp(amount * torch.randn(b.shape, generator=rng, dtype=b.dtype))


def random_banded(rng, rows, columns):
    """Any widths, any order of the columns, some touching one row only."""
    matrix = torch.zeros(rows, columns, dtype=torch.float64)
    for i in range(columns):
        row = int(torch.randint(0, rows, (), generator=rng))
        matrix[row : row + 2, i] = torch.rand(min(2, rows - row), generator=rng, dtype=torch.float64) + 0.05
        if torch.rand((), generator=rng) < 0.2:
            matrix[row + 1 :, i] = 0.0
    return matrix


def scipy_residuals(matrix, b):
    residuals = [scipy.optimize.nnls(matrix.numpy(), c.numpy(), maxiter=20000)[1] for c in b.mT]
    return torch.tensor(residuals, dtype=torch.float64)


# --- the structure


def test_bands_of_a_bank(bank):
    found = bands(bank)
    columns = torch.arange(bank.shape[1])
    rebuilt = torch.zeros_like(bank)
    rebuilt[found.row, columns] += found.lower
    rebuilt[(found.row + 1).clamp(max=bank.shape[0] - 1), columns] += found.upper
    assert torch.equal(rebuilt, bank)
    assert torch.equal(found.touched, bank.any(dim=1))
    assert torch.equal(found.covered, bank.any(dim=0))


def test_bands_refuses_other_matrices():
    assert bands(torch.ones(3, 4)) is None
    assert bands(torch.tensor([[1.0], [0.0], [1.0]])) is None  # two rows, not adjacent
    assert bands(torch.tensor([[1.0, -1.0]])) is None
    assert bands(torch.tensor([[1.0, torch.nan]])) is None
    assert bands(torch.zeros(0, 3)) is None
    assert bands(torch.zeros(2, 3)) is not None


def test_bands_notices_a_write_and_knows_views():
    matrix = torch.eye(4)
    first = bands(matrix)
    assert bands(matrix[:]) is first
    matrix[0, 3] = 1.0
    assert bands(matrix) is None
    with torch.inference_mode():
        assert bands(torch.eye(3)) is not None


def test_rounding_on_a_filters_edge_is_no_third_row():
    matrix = torch.tensor([[1.0, 0.5, 0.0], [1e-9, 0.5, 1.0], [0.0, 1e-9, 0.5]])
    assert bands(matrix) is not None


# --- the optimum


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(("prior", "distance"), WAYS)
def test_clean_mels_are_met(bank, prior, distance, power, dtype, rng):
    matrix, b = bank.to(dtype), (bank @ spectra(bank.shape[1], 24, rng, power)).to(dtype)
    x, info = solve(matrix, b, prior=prior, distance=distance)
    error = torch.linalg.vector_norm(bank @ x.double() - b.double(), dim=0)
    size = torch.linalg.vector_norm(b.double(), dim=0)
    assert (x >= 0.0).all()
    assert info.converged.all()
    assert (error <= (2e-7 if dtype == torch.float64 else 2e-6) * size).all()


@pytest.mark.parametrize("bank", [*BANKS, "201/40", "201/80 above 2 kHz"], indirect=True)
@pytest.mark.parametrize(("prior", "distance"), WAYS)
def test_energies_over_eight_decades(bank, prior, distance, rng):
    """Every bin on its own: bands far quieter than their neighbours, on banks without full rank too."""
    energies = 10.0 ** (8.0 * torch.rand(bank.shape[1], 64, generator=rng, dtype=torch.float64) - 6.0)
    b = (bank @ energies).float()
    x, info = solve(bank.float(), b, prior=prior, distance=distance)
    met = torch.linalg.vector_norm(bank @ x.double() - b, dim=0) <= 2e-6 * b.norm(dim=0)
    assert (met | ~info.converged).all()
    # Where "kl" has its optimum at the border, x -> 0 as exp(λ) at best: it may say that it did not arrive.
    assert info.converged.sum() >= (61 if distance == "kl" else 64)


@pytest.mark.parametrize("distance", ["kl", "is"])
def test_flat_priors_decades_off_take_few_steps(distance, rng):
    bank = mel_filter_bank(513, 80, 22050, mel_scale="slaney", norm="slaney")
    b = bank.mT @ spectra(513, 64, rng, power=2).float()
    _, info = solve(bank.mT, b, prior="flat", distance=distance)
    assert info.converged.all()
    assert info.nit.max() <= 40
    assert info.nit.double().mean() <= 15


@pytest.mark.parametrize("kink", [1e-9, 1e-3, 0.5])
@pytest.mark.parametrize("steepness", [1e-3, 1.0, 1e6, 1e12])
def test_line_search_crosses_a_kink(kink, steepness):
    """The slope stays at -1 up to the kink and rises steeply behind it."""

    def slope(t):
        return -1.0 + steepness * (t - kink).clamp(min=0.0)

    trials = searched(slope, torch.isfinite)
    assert len(trials) <= 100
    assert abs(float(slope(trials[-1]))) <= 0.5 or (len(trials) == 1 and float(slope(trials[0])) < 0.0)


def test_line_search_stops_before_a_wall():
    """A function that is not finite behind 0.3, and falls up to there."""
    trials = searched(lambda t: torch.where(t < 0.3, -1.0, torch.nan).double(), lambda t: t < 0.3)
    assert len(trials) <= 10
    assert 0.15 <= float(trials[-1]) < 0.3


def searched(slope, finite):
    """The trials up to the good one."""
    line, good, trials = search.begin(torch.tensor([[-1.0]], dtype=torch.float64)), False, []
    while not good and len(trials) < 1000:
        trials.append(line.step)
        good, line = search.judge(line, slope(line.step), finite(line.step))
    return trials


@pytest.mark.parametrize("amount", [0.1, 0.5, 1.5])
@pytest.mark.parametrize(("prior", "distance"), WAYS[:3])
def test_noisy_mels_reach_scipys_objective(bank, prior, distance, amount, dtype, rng):
    b = noisy(bank, 6, rng, amount).to(dtype)
    x, info = solve(bank.to(dtype), b, prior=prior, distance=distance)
    best = scipy_residuals(bank, b.double()).square()
    ours = (bank @ x.double() - b.double()).square().sum(dim=0)
    size = b.double().square().sum(dim=0)
    assert info.converged.all()
    assert (x >= 0.0).all()
    # Where the optimum is zero, the square of the precision remains.
    floor = (1e-12 if dtype == torch.float32 else 1e-16) * size
    assert (ours <= best * (1.0 + 1e-5) + floor).all()
    assert info.kkt.max() <= (1e-5 if dtype == torch.float32 else 1e-7)


@pytest.mark.parametrize("seed", range(20))
def test_any_banded_matrix_and_any_right_hand_side(seed):
    rng = torch.Generator().manual_seed(seed)
    matrix = random_banded(rng, 1 + seed % 7, 2 + 2 * seed)
    b = torch.randn(matrix.shape[0], 20, generator=rng, dtype=torch.float64)
    b[:, ::4] = b[:, ::4].abs()
    b[:, ::5] *= 10.0 ** torch.randn(b[:, ::5].shape, generator=rng, dtype=torch.float64)
    b[0, ::3] = 0.0
    best = scipy_residuals(matrix, b)
    for prior, distance in (("flat", "quadratic"), ("flat", "kl")):
        x, info = solve(matrix, b, prior=prior, distance=distance)
        assert info.converged.all()
        assert (x >= 0.0).all()
        assert (info.residual_norm <= best * (1.0 + 1e-8) + 1e-8 * b.norm(dim=0)).all()


@pytest.mark.parametrize("seed", range(6))
def test_nearest_to_the_prior_among_all_active_sets(seed):
    """Brute force: for every set of free columns the nearest point of {A x = z}; the nearest feasible."""
    rng = torch.Generator().manual_seed(seed)
    matrix = random_banded(rng, 3, 7)
    b = matrix @ torch.rand(7, generator=rng, dtype=torch.float64)
    prior = torch.rand(7, generator=rng, dtype=torch.float64) * 2.0
    nearest, best = None, np.inf
    for free in itertools.product([False, True], repeat=7):
        mask = torch.tensor(free)
        columns = matrix[:, mask]
        x = torch.zeros(7, dtype=torch.float64)
        x[mask] = prior[mask] + torch.linalg.pinv(columns) @ (b - columns @ prior[mask])
        if (x >= -1e-12).all() and (matrix @ x - b).norm() < 1e-9 and (x - prior).norm() < best:
            nearest, best = x, (x - prior).norm()
    x, _ = solve(matrix, b[:, None], prior=prior[:, None])
    torch.testing.assert_close(x[:, 0], nearest, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("distance", ["kl", "is"])
def test_no_feasible_direction_shortens_the_distance(distance, rng):
    """First order: at the answer, the distance's gradient is orthogonal to the null space of A."""
    matrix = torch.zeros(3, 9, dtype=torch.float64)
    for i in range(9):
        row = min(i // 3, 1)
        matrix[row : row + 2, i] = torch.rand(2, generator=rng, dtype=torch.float64) + 0.1
    b = matrix @ (torch.rand(9, 5, generator=rng, dtype=torch.float64) + 0.1)
    prior = torch.rand(9, 5, generator=rng, dtype=torch.float64) + 0.1
    x, _ = solve(matrix, b, prior=prior, distance=distance)
    gradient = (x / prior).log() if distance == "kl" else 1.0 / prior - 1.0 / x
    null = torch.linalg.svd(matrix).Vh[3:]
    assert (null @ gradient).abs().max() < 1e-8


def test_ridge_trades_residual_for_distance(rng):
    matrix = random_banded(rng, 4, 12)
    b = torch.rand(4, 3, generator=rng, dtype=torch.float64) * 10.0
    x, info = solve(matrix, b, ridge=0.3)
    stacked = torch.cat([matrix, 0.3**0.5 * torch.eye(12, dtype=torch.float64)])
    target = torch.cat([b, torch.zeros(12, 3, dtype=torch.float64)])
    expected = np.stack([scipy.optimize.nnls(stacked.numpy(), c.numpy())[0] for c in target.mT], axis=1)
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-9)
    assert info.converged.all()


def test_the_projection_alone(rng):
    for rows in (1, 2, 5, 9):
        matrix = random_banded(rng, rows, 4 * rows)
        b = torch.randn(rows, 30, generator=rng, dtype=torch.float64)
        met, free = project(bands(matrix), b.mT)
        expected = scipy_residuals(matrix, b)
        touched = matrix.any(dim=1)
        residual = torch.where(touched[:, None], met.mT - b, b).norm(dim=0)
        torch.testing.assert_close(residual, expected, rtol=1e-9, atol=1e-9)
        for column in range(30):
            _, rest = scipy.optimize.nnls((matrix * free[column]).numpy(), met[column].numpy())
            assert rest <= 1e-9 * (1.0 + b[:, column].norm())


# --- the two engines


@pytest.mark.parametrize(("prior", "distance"), WAYS)
@pytest.mark.parametrize("amount", [0.0, 0.3])
def test_kernel_and_tensor_operations_agree(prior, distance, amount, dtype, rng, monkeypatch):
    bank = mel_filter_bank(257, 40, 16000, dtype=torch.float64).mT
    b = noisy(bank, 70, rng, amount)
    b[:, 3] = 0.0
    b[5, 7] = torch.nan
    b[9, 11] = 0.0
    b = b.to(dtype)[None]
    kernel = solve_columns(bank.to(dtype), b, prior=prior, distance=distance)
    monkeypatch.setattr(banded_op, "solve_cpu", banded_op.solve_tensor)
    tensor = solve_columns(bank.to(dtype), b, prior=prior, distance=distance)
    assert torch.equal(kernel[2], tensor[2])
    # Frames without an exact solution have x determined less sharply than A x.
    limit = {torch.float32: 1e-4, torch.float64: 1e-8}[dtype]
    finite = ~tensor[0].isnan()
    assert torch.equal(~kernel[0].isnan(), finite)
    difference = torch.where(finite, kernel[0] - tensor[0], 0.0).norm(dim=1)
    assert (difference <= limit * torch.where(finite, tensor[0], 0.0).norm(dim=1) + 1e-12).all()


@pytest.mark.parametrize("relative", [False, True])
def test_given_priors_agree_between_engines(relative, dtype, rng, monkeypatch):
    bank = mel_filter_bank(129, 20, 16000, dtype=torch.float64).mT
    truth = spectra(129, 40, rng)
    b, prior = (
        (bank @ truth).to(dtype)[None],
        (truth * torch.rand(truth.shape, generator=rng)).to(dtype)[None],
    )
    prior[0, :, 4] = 0.0
    prior[0, 3, 6] = torch.inf
    kernel = solve_columns(bank.to(dtype), b, prior=prior, relative=relative)
    monkeypatch.setattr(banded_op, "solve_cpu", banded_op.solve_tensor)
    tensor = solve_columns(bank.to(dtype), b, prior=prior, relative=relative)
    torch.testing.assert_close(
        kernel[0], tensor[0], rtol=1e-3 if dtype == torch.float32 else 1e-9, atol=1e-5, equal_nan=True
    )
    assert kernel[0][0, :, 6].isnan().all()
    assert not kernel[0][0, :, 7].isnan().any()


def test_tensor_engine_on_cuda(rng):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    bank = mel_filter_bank(257, 40, 16000).mT
    b = noisy(bank.double(), 70, rng, 0.3).float()[None]
    there, *_ = solve_columns(bank.cuda(), b.cuda(), prior="envelope")
    here, *_ = solve_columns(bank, b, prior="envelope")
    torch.testing.assert_close(there.cpu(), here, rtol=1e-3, atol=1e-4)


# --- frames are on their own


def test_a_frame_does_not_see_its_neighbours(dtype, rng):
    bank = mel_filter_bank(257, 40, 16000, dtype=torch.float64).mT
    b = noisy(bank, 700, rng, 0.1).to(dtype)
    bank = bank.to(dtype)
    whole, *_ = solve_columns(bank, b[None], prior="envelope")
    order = torch.randperm(700, generator=rng)
    assert torch.equal(solve_columns(bank, b[None, :, order], prior="envelope")[0], whole[:, :, order])
    for k in (0, 17, 511, 512, 699):
        assert torch.equal(
            solve_columns(bank, b[None, :, k : k + 1], prior="envelope")[0], whole[:, :, k : k + 1]
        )
    # Another layout in memory, and a batch of short items.
    items = b[:, :690].reshape(40, 69, 10).movedim(1, 0)
    apart, *_ = solve_columns(bank, items, prior="envelope")
    assert torch.equal(apart.movedim(0, 1).reshape(257, 690), whole[0, :, :690])
    b[3, 5] = torch.inf
    spoilt, *_ = solve_columns(bank, b[None], prior="envelope")
    assert spoilt[0, :, 5].isnan().all()
    others = torch.arange(700) != 5
    assert torch.equal(spoilt[:, :, others], whole[:, :, others])


def test_threads_do_not_change_bits(rng):
    bank = mel_filter_bank(257, 40, 16000).mT
    b = noisy(bank.double(), 1500, rng, 0.1).float()[None]
    many, *_ = solve_columns(bank, b, prior="envelope")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    one, *_ = solve_columns(bank, b, prior="envelope")
    torch.set_num_threads(threads)
    assert torch.equal(one, many)


@pytest.mark.parametrize(("prior", "distance"), WAYS)
@pytest.mark.parametrize("exponent", [-40, -7, 3, 40])
def test_powers_of_two_pass_through_to_the_bit(prior, distance, exponent, rng):
    bank = mel_filter_bank(129, 20, 16000).mT
    b = noisy(bank.double(), 20, rng, 0.3).float()[None]
    x, *_ = solve_columns(bank, b, prior=prior, distance=distance)
    scaled, *_ = solve_columns(bank, b * 2.0**exponent, prior=prior, distance=distance)
    assert torch.equal(scaled, x * 2.0**exponent)


def test_empty_shapes():
    bank = mel_filter_bank(129, 20, 16000).mT
    assert solve_columns(bank, torch.zeros(0, 20, 5))[0].shape == (0, 129, 5)
    assert solve_columns(bank, torch.zeros(3, 20, 0))[0].shape == (3, 129, 0)
    x, info = solve(torch.zeros(2, 3), torch.ones(2, 4))
    assert torch.equal(x, torch.zeros(3, 4))
    assert info.converged.all()


# --- gradients, compile, vmap


def small_problem(rng):
    matrix = torch.zeros(4, 11, dtype=torch.float64)
    for i in range(11):
        row = min(i // 3, 2)
        matrix[row : row + 2, i] = torch.rand(2, generator=rng, dtype=torch.float64) + 0.1
    return matrix


@pytest.mark.parametrize(("prior", "distance"), WAYS)
def test_gradient_of_the_right_hand_side(prior, distance, rng):
    matrix = small_problem(rng)
    b = (matrix @ torch.rand(11, 3, generator=rng, dtype=torch.float64))[None].requires_grad_()

    def answer(b):
        return solve_columns(matrix, b, prior=prior, distance=distance)[0]

    assert torch.autograd.gradcheck(answer, (b,), atol=1e-5)


@pytest.mark.parametrize("distance", ["quadratic", "kl", "is"])
@pytest.mark.parametrize("relative", [False, True])
def test_gradient_of_a_given_prior(distance, relative, rng):
    matrix = small_problem(rng)
    b = (matrix @ torch.rand(11, 3, generator=rng, dtype=torch.float64))[None].requires_grad_()
    prior = (torch.rand(1, 11, 3, generator=rng, dtype=torch.float64) + 0.2).requires_grad_()

    def answer(b, prior):
        return solve_columns(matrix, b, prior=prior, distance=distance, relative=relative)[0]

    assert torch.autograd.gradcheck(answer, (b, prior), atol=1e-5)


@pytest.mark.parametrize("ridge", [0.0, 0.1])
@pytest.mark.parametrize(("prior", "distance"), WAYS)
def test_gradient_of_the_matrix(prior, distance, ridge, rng):
    """The prior's own dependence on the matrix included: the bands' sums and centres."""
    pattern, values, b = interior(rng)

    def answer(values, b):
        matrix = torch.zeros(4, 11, dtype=torch.float64).masked_scatter(pattern, values)
        return solve_columns(matrix, b, prior=prior, distance=distance, ridge=ridge)[0]

    assert torch.autograd.gradcheck(answer, (values, b), atol=1e-5)


def test_gradient_where_no_solution_is_exact(rng):
    # One column to two rows: b is projected on it, and only that part of a change of b moves x.
    matrix = torch.tensor([[1.0, 0.0, 0.0], [2.0, 1.0, 0.5], [0.0, 0.5, 1.0]], dtype=torch.float64)
    b = torch.tensor([[[3.0], [1.0], [4.0]]], dtype=torch.float64, requires_grad=True)
    for prior, distance in (("flat", "quadratic"), ("flat", "kl")):
        _, info = solve(matrix, b[0].detach(), prior=prior, distance=distance)
        assert info.residual_norm > 0.1

        def answer(b, prior=prior, distance=distance):
            return solve_columns(matrix, b, prior=prior, distance=distance)[0]

        assert torch.autograd.gradcheck(answer, (b,), atol=1e-5)
        # A step of 1e-4: the Gram matrix is singular here, and the gradient good to nine digits.
        assert torch.autograd.gradgradcheck(answer, (b,), eps=1e-4, atol=1e-4)


def interior(rng):
    """Where a matrix has its entries, these, and right-hand sides that leave its columns free."""
    matrix = small_problem(rng)
    b = (matrix @ torch.rand(11, 2, generator=rng, dtype=torch.float64))[None]
    return matrix > 0.0, matrix[matrix > 0.0].requires_grad_(), b.requires_grad_()


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e3])  # frames are scaled by powers of two, up or down
@pytest.mark.parametrize(("prior", "distance"), WAYS)
def test_second_derivatives(prior, distance, size, rng):
    pattern, values, b = interior(rng)

    def answer(values, b):
        matrix = torch.zeros(4, 11, dtype=torch.float64).masked_scatter(pattern, values)
        return solve_columns(matrix, b * size, prior=prior, distance=distance)[0] / size

    assert torch.autograd.gradgradcheck(answer, (values, b), atol=1e-5, fast_mode=True)


@pytest.mark.parametrize("distance", ["quadratic", "kl", "is"])
@pytest.mark.parametrize("relative", [False, True])
def test_second_derivatives_of_a_given_prior(distance, relative, rng):
    pattern, values, b = interior(rng)
    prior = (torch.rand(1, 11, 2, generator=rng, dtype=torch.float64) + 0.2).requires_grad_()

    def answer(values, b, prior):
        matrix = torch.zeros(4, 11, dtype=torch.float64).masked_scatter(pattern, values)
        return solve_columns(matrix, b, prior=prior, distance=distance, relative=relative)[0]

    assert torch.autograd.gradgradcheck(answer, (values, b, prior), atol=1e-5, fast_mode=True)


def test_opcheck(rng):
    bank = mel_filter_bank(33, 8, 16000).mT.contiguous()
    b = torch.rand(2, 8, 5, generator=rng).requires_grad_()
    torch.library.opcheck(
        banded_op.banded_nnls, (bank, b, None, "envelope", "quadratic", True, 0.0, "", True)
    )


def test_vmap(rng):
    bank = mel_filter_bank(65, 10, 16000).mT
    b = noisy(bank.double(), 24, rng, 0.0).float().reshape(10, 4, 3, 2).movedim(1, 0)

    def one(b):
        return solve_columns(bank, b.movedim(1, 0), prior="envelope")[0]

    together = torch.vmap(one)(b)
    assert torch.equal(together, torch.stack([one(item) for item in b]))


def test_choice_scales(rng):
    assert Choice("flat", "quadratic", False, 0.0).dual_power == 1
    assert Choice("flat", "kl", False, 0.0).dual_power == 0
    assert Choice("envelope", "quadratic", True, 0.0).dual_power == -1
    assert banded_cpu.solve_cpu is not banded_op.solve_tensor


def test_the_operator_says_what_it_cannot_do(rng):
    matrix = small_problem(rng)
    b = (matrix @ torch.rand(11, 2, generator=rng, dtype=torch.float64))[None].requires_grad_()

    def solve(matrix, b, keep_dual):
        return torch.ops.inbounds.banded_nnls(
            matrix, b, None, "flat", "quadratic", False, 1e-9, "", keep_dual
        )

    with pytest.raises(RuntimeError, match="must be called with keep_dual where a gradient is wanted"):
        solve(matrix, b, False)
    with pytest.raises(NotImplementedError, match="vmap over the matrix"):
        torch.vmap(lambda M: solve(M, b.detach(), False))(torch.stack([matrix, matrix]))
