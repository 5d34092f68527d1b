"""The drawn worlds that pairs are made of: that of training, and that of the shipped miniature until it is replaced."""

from types import ModuleType
from typing import NamedTuple

from ..network import SMALL
from ..old_world import body as old_body
from ..old_world import clips as old_clips
from ..old_world import look as old_look
from ..old_world import motion as old_motion
from ..world import body, clips, look, motion
from .choices import NEW_WORLD, OLD_WORLD


class World(NamedTuple):
    """A world's modules, and the size in pixels of the frames that a model of it is trained on."""

    name: str
    size: int
    body: ModuleType
    clips: ModuleType
    look: ModuleType
    motion: ModuleType


NEW = World(NEW_WORLD, SMALL.pixels, body, clips, look, motion)
OLD = World(OLD_WORLD, 96, old_body, old_clips, old_look, old_motion)
WORLDS = {world.name: world for world in (NEW, OLD)}
