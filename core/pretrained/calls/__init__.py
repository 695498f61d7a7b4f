"""Calls of animals: an embedded synthesiser, and diffusers' StableAudioPipeline.

from core.pretrained.calls.synthesis import synthesise
wave = synthesise("cat", seed=7)      # 32 kHz, one channel

A folder of them is made by `core.pretrained.calls.work` (jobs/calls.py).
"""
