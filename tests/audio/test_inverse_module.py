"""`InverseMelScale`: what the module keeps between calls."""

import torch

from inbounds.audio import InverseMelScale, inverse_mel_scale, mel_filter_bank

MEL = torch.rand(2, 20, 6, generator=torch.Generator().manual_seed(0))


def test_the_pseudo_inverse_is_computed_once_and_anew_for_another_bank(monkeypatch):
    module, calls = InverseMelScale(129, 20, 8000, method="pinv"), []
    pinv = torch.linalg.pinv
    monkeypatch.setattr(torch.linalg, "pinv", lambda matrix: calls.append(1) or pinv(matrix))
    first = module(MEL)
    torch.testing.assert_close(module(MEL), first)
    assert len(calls) == 1
    other = mel_filter_bank(129, 20, 8000, mel_scale="slaney")
    module.load_state_dict({"fb": other})
    torch.testing.assert_close(module(MEL), inverse_mel_scale(MEL, other, method="pinv"))
    assert module(MEL.double()).dtype == torch.float64
    assert module(MEL.half()).dtype == torch.float16


def test_a_prior_of_ones_own():
    prior = torch.rand(129, 1, generator=torch.Generator().manual_seed(1))
    module = InverseMelScale(129, 20, 8000, prior=prior)
    torch.testing.assert_close(module(MEL), inverse_mel_scale(MEL, module.fb, prior=prior))
    assert "(129, 1)" in repr(module)
