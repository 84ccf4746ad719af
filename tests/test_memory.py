"""Large answers: memory like torch.empty's in everything but its pages."""

import pickle

import pytest
import torch

from inbounds import _memory


@pytest.mark.parametrize("like", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 5), (0, 7), (2, 1025, 2048)])
def test_like_an_empty_tensor(shape, like):
    made = _memory.empty(*shape, like=torch.empty(1, dtype=like))
    expected = torch.empty(shape, dtype=like)
    assert (made.shape, made.stride(), made.dtype) == (expected.shape, expected.stride(), like)
    made.fill_(2.0)
    assert torch.equal(made, expected.fill_(2.0))


def test_lives_on_without_its_maker_and_travels():
    made = _memory.empty(1025, 2048, like=torch.empty(1)).fill_(3.0)
    part = made[5:7]
    del made
    assert (part == 3.0).all()
    assert torch.equal(pickle.loads(pickle.dumps(part)), part)
    assert torch.equal(part.clone().share_memory_(), part)


def test_an_answer_of_this_size_differentiates():
    from inbounds.audio import inverse_mel_scale, mel_filter_bank

    bank = mel_filter_bank(1025, 40, 44100)
    mel = (torch.rand(40, 1100, generator=torch.Generator().manual_seed(0)) + 0.1).requires_grad_()
    x = inverse_mel_scale(mel, bank)
    x.square().sum().backward()
    assert mel.grad is not None
    assert mel.grad.isfinite().all()
