"""The SteadyDancer model and its conditions for ComfyUI: torch and comfy, nothing from nodes/ or dwpose/."""
