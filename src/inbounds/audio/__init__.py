"""Mel spectrograms inverted to the optimum, and played back."""

from inbounds.audio.compression import Compression as Compression
from inbounds.audio.filters import mel_filter_bank as mel_filter_bank
from inbounds.audio.inverse import InverseMelScale as InverseMelScale
from inbounds.audio.inverse import inverse_mel_scale as inverse_mel_scale
from inbounds.audio.joint import Refinement as Refinement
from inbounds.audio.melspec import MelSpec as MelSpec
from inbounds.audio.mfcc import mfcc_to_audio as mfcc_to_audio
from inbounds.audio.mfcc import mfcc_to_mel as mfcc_to_mel
from inbounds.audio.phase import GriffinLim as GriffinLim
from inbounds.audio.phase import griffin_lim as griffin_lim
from inbounds.audio.pipeline import MelToAudio as MelToAudio
from inbounds.audio.pipeline import mel_to_audio as mel_to_audio
from inbounds.audio.presets import PRESETS as PRESETS
from inbounds.audio.recurrence import ADMM as ADMM
from inbounds.audio.recurrence import AcceleratedGriffinLim as AcceleratedGriffinLim
from inbounds.audio.recurrence import FastGriffinLim as FastGriffinLim
