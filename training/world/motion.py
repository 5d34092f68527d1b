"""Motions without a body: angles over time, in degrees, so that every body can do them.

An arm's `raise` is 0 hanging and 90 level, to the side at `forward` 0 and to the front at 90; `bend` raises the lower
arm further. A leg likewise, its bend takes the shin back. yaw 0 looks at the viewer. travel and jump in body heights.
"""

from collections.abc import Callable, Mapping

import numpy as np

FPS = 16
Motion = Mapping[str, np.ndarray]
Kind = Callable[[np.random.Generator, np.ndarray], dict[str, np.ndarray]]  # random, time in seconds -> angles
LIMBS = tuple(
    f"{side}_{limb}_{angle}"
    for side in ("right", "left")
    for limb in ("arm", "leg")
    for angle in ("raise", "forward", "bend")
)
CHANNELS = ("yaw", "lean", "twist", "head_tilt", "head_yaw", "travel", "jump", *LIMBS)
UPRIGHT = 172.0  # a forearm goes no farther, so that no hand hides behind the head
REST = {"arm_raise": 12.0, "arm_bend": 8.0, "leg_raise": 4.0}


def draw_motion(
    random: np.random.Generator, frames: int, kind: str | None = None, start: float | None = None
) -> Motion:
    """Return a motion of `kind` (a key of KINDS, else any), [frames] for each of CHANNELS, `start` seconds into it."""
    motion = motion_of(KINDS, random, frames, kind, start)
    for side in ("right", "left"):
        motion[f"{side}_arm_bend"] = np.minimum(motion[f"{side}_arm_bend"], UPRIGHT - motion[f"{side}_arm_raise"])
    return motion


def motion_of(
    kinds: Mapping[str, Kind], random: np.random.Generator, frames: int, kind: str | None, start: float | None
) -> dict[str, np.ndarray]:
    """Return a motion as `draw_motion` does, of one of `kinds`; they are drawn by SHARES."""
    kind = kind or str(random.choice(list(kinds), p=SHARES))
    start = random.uniform(0, 4) if start is None else start
    time = start + np.arange(frames) / FPS
    motion = {name: np.full(frames, REST.get(name.partition("_")[2], 0.0)) for name in CHANNELS}
    for name, values in kinds[kind](random, time).items():
        motion[name] = motion[name] + values
    return motion


def wave(random: np.random.Generator, time: np.ndarray, hertz: float, size: float, second: float = 0.3) -> np.ndarray:
    """Return a swing of about +-size at a random phase, with an overtone."""
    a, b = random.uniform(0, 2 * np.pi, 2)
    angle = 2 * np.pi * hertz * time
    return size * (np.sin(angle + a) + second * random.uniform(-1, 1) * np.sin(2 * angle + b))


def sway(random: np.random.Generator, time: np.ndarray, beat: float, size: float = 1.0) -> dict[str, np.ndarray]:
    """Return trunk and head swaying, at their most by `size` times what looks natural."""
    names = {"lean": 5, "twist": 12, "head_tilt": 7, "head_yaw": 14, "yaw": 12, "travel": 0.08}
    return {name: wave(random, time, beat, size * most * random.uniform(0.3, 1)) for name, most in names.items()}


def bounce(random: np.random.Generator, time: np.ndarray, beat: float, depth: float) -> dict[str, np.ndarray]:
    """Return both legs bending to the front and straightening, `depth` degrees at the thigh at most."""
    bent = depth * (0.5 + 0.5 * np.sin(2 * np.pi * beat * time + random.uniform(0, 6.3)))
    legs = {"raise": bent, "forward": np.full_like(bent, random.uniform(20, 80)), "bend": 2 * bent}
    return {f"{side}_leg_{name}": values for side in ("right", "left") for name, values in legs.items()}


def _dance(random: np.random.Generator, time: np.ndarray) -> dict[str, np.ndarray]:
    beat = random.uniform(0.29, 0.48)
    out = sway(random, time, beat) | bounce(random, time, beat * random.choice((1, 2)), random.uniform(4, 24))
    arms = str(random.choice(list(ARMS), p=(0.55, 0.25, 0.2)))
    out |= ARMS[arms](random, time, beat)
    return _steps(random, time, beat, out)


def _swing(random: np.random.Generator, time: np.ndarray, beat: float) -> dict[str, np.ndarray]:
    """Return arms that swing up and down at the sides, now and then both alike."""
    out, together = {}, random.random() < 0.35
    for side in ("right", "left"):
        if side == "left" and together:
            out |= {f"left_arm_{name}": out[f"right_arm_{name}"] for name in ("raise", "forward", "bend")}
            continue
        high = random.uniform(35, 105)
        out[f"{side}_arm_raise"] = high + wave(random, time, beat, min(60, high) * random.uniform(0.5, 1))
        out[f"{side}_arm_forward"] = random.uniform(-10, 35) + wave(random, time, beat, 12)
        out[f"{side}_arm_bend"] = random.uniform(-30, 55) + wave(random, time, beat, random.uniform(20, 55))
    return out


def _roll(random: np.random.Generator, time: np.ndarray, beat: float) -> dict[str, np.ndarray]:
    """Return a wave that runs from one hand through both arms to the other."""
    phase, size, way = 2 * np.pi * beat * time + random.uniform(0, 6.3), random.uniform(30, 45), random.choice((-1, 1))
    out = {}
    for side, sign in (("right", way), ("left", -way)):
        out[f"{side}_arm_raise"] = 75 + size * np.sin(phase + 0.9 * sign)
        out[f"{side}_arm_bend"] = 5 + 1.2 * size * np.sin(phase + 1.8 * sign)
    return out


def _clap(random: np.random.Generator, time: np.ndarray, beat: float) -> dict[str, np.ndarray]:
    """Return hands that meet before the chest and open wide to the sides."""
    open_ = 0.5 + 0.5 * np.sin(2 * np.pi * beat * time + random.uniform(0, 6.3))
    high, out = random.uniform(70, 95), {}
    for side in ("right", "left"):
        out[f"{side}_arm_raise"] = high - 30 + 30 * open_
        out[f"{side}_arm_forward"] = 88 - 85 * open_
        out[f"{side}_arm_bend"] = 25 + random.uniform(0, 15) * open_
    return out


ARMS: dict[str, Callable[[np.random.Generator, np.ndarray, float], dict[str, np.ndarray]]] = {
    "swing": _swing, "roll": _roll, "clap": _clap,
}  # fmt: skip


def _steps(
    random: np.random.Generator, time: np.ndarray, beat: float, out: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the motion with the feet lifted in turn, the weight going over to the other; now and then a kick."""
    phase, kick = 2 * np.pi * beat * time + random.uniform(0, 6.3), random.random() < 0.3
    out["travel"] = out["travel"] - random.uniform(0.02, 0.06) * np.sin(phase)
    for side, sign in (("right", -1), ("left", 1)):
        pulse = (sign * np.sin(phase)).clip(0, 1) ** 1.5
        lift, bend = (random.uniform(45, 65), 10) if kick else (random.uniform(25, 50), random.uniform(0, 60))
        out[f"{side}_leg_raise"] = out[f"{side}_leg_raise"] + lift * pulse
        out[f"{side}_leg_bend"] = out[f"{side}_leg_bend"] + bend * pulse
    return out


def _walk(random: np.random.Generator, time: np.ndarray) -> dict[str, np.ndarray]:
    way, pace = random.choice((-1, 1)), random.uniform(0.48, 0.72)
    phase = 2 * np.pi * pace * time + random.uniform(0, 6.3)
    middle = time - time.mean()
    out = {"yaw": np.full_like(time, way * random.uniform(35, 80)), "travel": way * 0.14 * pace * middle}
    for side, sign in (("right", 1), ("left", -1)):
        swing = sign * np.sin(phase)
        out[f"{side}_leg_raise"] = 36 * swing - REST["leg_raise"]
        out[f"{side}_leg_forward"] = np.full_like(time, 90.0)
        out[f"{side}_leg_bend"] = 8 + 42 * np.clip(sign * np.cos(phase), 0, 1)
        out[f"{side}_arm_raise"] = -34 * swing - REST["arm_raise"]
        out[f"{side}_arm_forward"] = np.full_like(time, 90.0)
        out[f"{side}_arm_bend"] = np.full_like(time, random.uniform(10, 35))
    return out


def _greet(random: np.random.Generator, time: np.ndarray) -> dict[str, np.ndarray]:
    side, beat = random.choice(("right", "left")), random.uniform(0.5, 0.8)
    out = sway(random, time, beat / 2, 0.5) | bounce(random, time, beat / 2, random.uniform(4, 16))
    out[f"{side}_arm_raise"] = random.uniform(70, 130) + wave(random, time, beat / 2, 8)
    out[f"{side}_arm_bend"] = random.uniform(10, 40) + wave(random, time, beat, random.uniform(26, 38), 0.1)
    return _steps(random, time, beat / 2, out) if random.random() < 0.5 else out


def _turn(random: np.random.Generator, time: np.ndarray) -> dict[str, np.ndarray]:
    beat = random.uniform(0.25, 0.45)
    out = sway(random, time, beat, 0.5) | bounce(random, time, beat, random.uniform(0, 12))
    if random.random() < 0.5:
        out["yaw"] = wave(random, time, beat * 0.6, random.uniform(50, 100), 0.1)
    else:
        pace = random.choice((-1, 1)) * random.uniform(50, 100)
        out["yaw"] = pace * (time - time[0]) + random.uniform(-40, 40)
    for side in ("right", "left"):
        out[f"{side}_arm_raise"] = random.uniform(20, 80) + wave(random, time, beat, 20)
        out[f"{side}_arm_bend"] = random.uniform(-10, 40) + wave(random, time, beat, 18)
    return out


def _jacks(random: np.random.Generator, time: np.ndarray) -> dict[str, np.ndarray]:
    beat, high = random.uniform(0.35, 0.5), random.uniform(95, 140)
    up = 0.5 - 0.5 * np.cos(2 * np.pi * beat * time)
    out = sway(random, time, beat, 0.2) | {"jump": 0.03 * np.sin(2 * np.pi * beat * time) ** 2}
    for side in ("right", "left"):
        out |= {f"{side}_arm_raise": high * up, f"{side}_leg_raise": random.uniform(20, 30) * up}
    return out


KINDS: dict[str, Kind] = {
    "dance": _dance,
    "walk": _walk,
    "wave": _greet,
    "turn": _turn,
    "jacks": _jacks,
}
SHARES = (0.55, 0.12, 0.11, 0.12, 0.10)
