"""Mel spectrograms inverted to the optimum, and played back."""

from inbounds.audio.phase import GriffinLim as GriffinLim
from inbounds.audio.phase import griffin_lim as griffin_lim
from inbounds.audio.recurrence import ADMM as ADMM
from inbounds.audio.recurrence import AcceleratedGriffinLim as AcceleratedGriffinLim
