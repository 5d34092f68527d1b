"""The fuzzed readers run in ComfyUI."""

from steadydancer_pack.tests.comfyui import use_comfyui

use_comfyui()
