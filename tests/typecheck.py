"""The checker behind every annotation while the tests run: beartype, with an int where a float may stand."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
