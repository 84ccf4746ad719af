"""A few of bench/fuzz.py's and bench/soak.py's cases, always the same ones."""

import pytest

import fuzz
import inbounds
import soak


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


class TestSoak:
    """It warns of deficient banks, as it should; and large problems of SciPy's take a minute."""

    pytestmark = pytest.mark.filterwarnings("ignore:the mel bank has rank", "ignore:.*did not converge")

    @pytest.mark.parametrize("name", soak.KINDS)
    def test_random_problems(self, name):
        count, _, wrong = soak.KINDS[name](soak.Draw(1))
        assert count > 0
        assert not wrong

    def test_it_counts_and_watches_memory(self):
        solved, _, wrong, memory = soak.soak(0.01, seed=4)
        assert solved.total() > 0
        assert not wrong
        assert memory

    def test_a_wrong_answer_is_noticed(self, monkeypatch):
        monkeypatch.setattr(inbounds, "minimize", worse(inbounds.minimize))
        wrong = soak.bounded_minimisation(soak.Draw(0)).wrong
        assert any("worse than SciPy" in fault for fault in wrong)


def worse(minimize):
    """A minimiser that gives up early."""

    def early(*args, **options):
        return minimize(*args, **options | {"maxiter": 1})

    return early
