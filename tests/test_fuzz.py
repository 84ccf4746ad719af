"""A few of bench/fuzz.py's and bench/soak.py's cases, always the same ones."""

import pytest

import fuzz


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    readers = fuzz.Readers(tmp_path_factory.mktemp("fuzz"))
    yield readers
    readers.close()


@pytest.mark.parametrize("kind", fuzz.READERS)
def test_spoilt_files(readers, kind):
    outcomes = readers.outcomes(kind, range(60 if kind == "yaml" else 150))
    findings = [outcome for outcome in outcomes if outcome.startswith("!")]
    assert not findings
    assert outcomes["read"]
    assert outcomes["ValueError"]
