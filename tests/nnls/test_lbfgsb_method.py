"""L-BFGS-B as a least-squares solver: against the exact ones, on the dual and on the primal."""

import pytest
import torch

from inbounds import kkt_residual, lsq_linear, nnls
from inbounds.audio.filters import mel_filter_bank
from inbounds.audio.inverse import InverseMelScale, inverse_mel_scale
from inbounds.nnls import lbfgsb
from nnls.cases import KINDS, assert_as_good, make, reference


@pytest.mark.parametrize("dual", [True, False])
@pytest.mark.parametrize("shape", [(20, 10), (10, 25)])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "collinear"])
def test_reaches_the_certificate(dual, shape, kind):
    A, b = make(kind, *shape, 6)
    x, info = nnls(A, b, method="lbfgsb", dual=dual, full_output=True)
    assert (x >= 0).all()
    assert info.converged.all()
    assert info.kkt.max() <= 1.01e-9
    assert_as_good(A, b, x, reference(A, b))


def test_the_dual_gives_the_nearest_and_the_primal_an_optimum(rng):
    A, b = make("reachable b", 8, 20, 6)
    prior = torch.rand(20, 6, generator=rng, dtype=torch.float64)
    exact = nnls(A, b, prior=prior, method="dense")
    near = nnls(A, b, prior=prior, method="lbfgsb", tol=1e-11)
    torch.testing.assert_close(near, exact, rtol=1e-6, atol=1e-7)
    other = nnls(A, b, prior=prior, method="lbfgsb", dual=False)
    assert kkt_residual(A, b, other).max() <= 1.01e-9
    assert ((other - prior).norm(dim=0) >= (exact - prior).norm(dim=0) - 1e-6).all()


def test_float32_and_a_batch_of_matrices():
    A = torch.rand(3, 12, 7, generator=torch.Generator().manual_seed(0))
    b = torch.randn(3, 12, 2, generator=torch.Generator().manual_seed(1))
    x, info = nnls(A, b, method="lbfgsb", full_output=True)
    assert info.converged.all()
    assert info.kkt.max() < 1e-5
    torch.testing.assert_close(x, nnls(A, b), rtol=1e-3, atol=1e-4)


def test_chunks_change_little(monkeypatch):
    A, b = make("gauss", 10, 25, 11)
    whole = lsq_linear(A, b, (-0.5, 0.5), method="lbfgsb", tol=1e-10)
    monkeypatch.setattr(lbfgsb, "CHUNK", 60)
    torch.testing.assert_close(
        lsq_linear(A, b, (-0.5, 0.5), method="lbfgsb", tol=1e-10), whole, rtol=1e-7, atol=1e-8
    )


@pytest.fixture
def mel():
    bank = mel_filter_bank(201, 40, 16000)
    spectrum = torch.rand(201, 12, generator=torch.Generator().manual_seed(3)) ** 4
    spectrum[:, 5] = 0.0  # a silent frame
    return bank, bank.T @ spectrum


@pytest.mark.parametrize("prior", ["envelope", "flat"])
def test_mels(mel, prior):
    bank, target = mel
    x, info = inverse_mel_scale(target, bank, method="lbfgsb", prior=prior, full_output=True)
    if prior == "flat":
        exact = nnls(bank.T.double(), target.double(), method="dense").float()
    else:
        exact = inverse_mel_scale(target, bank, prior=prior)
    assert info.converged.all()
    residual = (bank.T @ x - target).norm(dim=0)
    assert (residual <= 1e-6 * target.norm(dim=0)).all()
    torch.testing.assert_close(x, exact, rtol=1e-3, atol=1e-5)
    assert (x[:, 5] == 0).all()


def test_mels_in_a_module_with_gradients_and_nan(mel):
    _, target = mel
    invert = InverseMelScale(201, 40, method="lbfgsb")
    leaf = target.double().requires_grad_()
    invert(leaf).square().sum().backward()
    exact = target.double().requires_grad_()
    InverseMelScale(201, 40)(exact).square().sum().backward()
    kept = [i for i in range(12) if i != 5]
    torch.testing.assert_close(leaf.grad[:, kept], exact.grad[:, kept], rtol=1e-3, atol=1e-5)
    target[3, 2] = torch.nan
    x = invert(target)
    assert x[:, 2].isnan().all()
    assert not x[:, kept[3:]].isnan().any()


@pytest.mark.parametrize("prior", ["envelope", "flat", "tensor"])
@pytest.mark.parametrize("method", ["nnls", "lbfgsb"])
def test_a_bank_without_bands(prior, method, rng):
    """Overlapping, smooth filters, as of a gammatone bank: dense, and still exact."""
    centres, bins = torch.linspace(0, 100, 16)[:, None], torch.arange(101.0)
    bank = torch.exp(-(((bins - centres) / 8) ** 2)).T.contiguous()
    spectrum = torch.rand(101, 6, generator=rng)
    mel = bank.T @ spectrum
    given = spectrum + 0.01 if prior == "tensor" else prior
    x, info = inverse_mel_scale(mel, bank, method=method, prior=given, full_output=True)
    assert info.converged.all()
    assert (x >= 0).all()
    assert ((bank.T @ x - mel).norm(dim=0) <= 2e-6 * mel.norm(dim=0)).all()
    if prior == "tensor":
        assert (x - spectrum).norm() < 0.1 * spectrum.norm()
    with pytest.raises(ValueError, match='distance must be "quadratic" for'):
        inverse_mel_scale(mel, bank, method=method, distance="kl")
    with pytest.raises(ValueError, match="mel must hold energies"):
        inverse_mel_scale(-mel, bank, method=method)
