"""A package, so that `nnls.cases` is found here: bench/, which the tests import from too, has an nnls.py."""
