"""A model file and a VAE file to measure in place of what a work folder holds."""

from dataclasses import dataclass
from pathlib import Path

from ..pipeline import Work
from .choices import FINAL


@dataclass(frozen=True, kw_only=True)
class ModelFiles(Work):
    """Shipped files as the result of FINAL; weights of other stages are looked for beside the model."""

    model: Path
    vae: Path

    @property
    def vae_file(self) -> Path:
        return self.vae

    def weights(self, name: str) -> Path:
        """Return where the result of a stage lies."""
        return self.model if name == FINAL else self.model.with_name(f"{name}.safetensors")
