"""One clip through three ways from mel to sound, measured and laid side by side."""

from inbounds.compare.measure import COLUMNS, Figures, measure, shown
from inbounds.compare.report import picture, write_report
from inbounds.compare.study import Study, study
from inbounds.compare.ways import WAYS, Problem, Reconstruction, Way

__all__ = [
    "COLUMNS",
    "WAYS",
    "Figures",
    "Problem",
    "Reconstruction",
    "Study",
    "Way",
    "measure",
    "picture",
    "shown",
    "study",
    "write_report",
]
