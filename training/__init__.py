"""How the miniature is made: a drawn world with known answers, a small VAE, and SteadyDancer's three training stages.

Needs ComfyUI and training/requirements.txt. Nothing here is loaded by ComfyUI; run `python -m training --help`.
"""
