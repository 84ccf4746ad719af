"""The least-squares examples do what they say, on sounds and scenes whose truth is known."""

import importlib.util
import math
from pathlib import Path

import torch

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_chroma_hears_a_c_major_chord():
    example = load("chroma")
    rate, time = 22050, torch.arange(22050, dtype=torch.float64) / 22050
    wave = torch.zeros_like(time)
    for midi in (60, 64, 67):  # C, E, G
        fundamental = 440 * 2 ** ((midi - 69) / 12)
        for partial in range(1, 9):
            wave += 0.7 ** (partial - 1) * torch.sin(2 * math.pi * partial * fundamental * time)
    levels = example.chroma(wave, rate).mean(1)
    loudest = {example.NOTES[i] for i in levels.topk(3).indices.tolist()}
    assert loudest == {"C", "E", "G"}
    assert levels.topk(4).values[3] < 0.2 * levels.topk(3).values[2]


def test_unmixing_finds_the_members():
    example = load("unmixing")
    library, image, truth = example.scene(bands=120, members=60, pixels=300, noise=1e-5)
    found = example.unmix(library, image)
    assert (found >= 0).all()
    assert (found - truth).norm(dim=0).mean() < 0.01
    chosen = found.topk(4, dim=0).indices.sort(0).values
    assert (chosen == truth.topk(4, dim=0).indices.sort(0).values).float().mean() > 0.95


def test_gammatone_round_trip():
    example = load("gammatone")
    rate = 16000
    time = torch.arange(rate // 2, dtype=torch.float64) / rate
    wave = torch.sin(2 * math.pi * (300 + 2000 * time) * time)
    power, energies, found = example.round_trip(wave, rate)
    assert (found >= 0).all()
    filters = example.erb_filters(power.shape[0], energies.shape[0], rate)
    residual = (filters.T @ found - energies).norm(dim=0) / energies.norm(dim=0)
    assert residual.max() < 1e-6
    assert (found.sqrt() - power.sqrt()).norm() < 0.8 * power.sqrt().norm()
