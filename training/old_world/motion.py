"""The motions of the old world; their angles are those of training/world/motion.py."""

import numpy as np

from ..world.motion import REST, Kind, Motion, bounce, motion_of, sway, wave


def draw_motion(
    random: np.random.Generator, frames: int, kind: str | None = None, start: float | None = None
) -> Motion:
    """Return a motion of `kind` (a key of KINDS, else any), [frames] for each of CHANNELS, `start` seconds into it."""
    return motion_of(KINDS, random, frames, kind, start)


def _dance(random: np.random.Generator, time: np.ndarray) -> dict[str, np.ndarray]:
    beat = random.uniform(0.25, 0.5)
    out = sway(random, time, beat) | bounce(random, time, beat * random.choice((1, 2)), random.uniform(2, 24))
    together = random.random() < 0.4
    for side in ("right", "left"):
        if side == "left" and together:
            out |= {f"left_arm_{name}": out[f"right_arm_{name}"] for name in ("raise", "forward", "bend")}
            continue
        high = random.uniform(25, 110)
        out[f"{side}_arm_raise"] = high + wave(random, time, beat, min(50, high) * random.uniform(0.3, 1))
        out[f"{side}_arm_forward"] = random.uniform(-10, 35) + wave(random, time, beat, 12)
        out[f"{side}_arm_bend"] = random.uniform(-30, 60) + wave(random, time, beat, random.uniform(10, 55))
    step = "right_leg" if random.random() < 0.5 else "left_leg"
    lift = random.uniform(10, 45)
    pulse = np.clip(np.sin(2 * np.pi * beat * time + random.uniform(0, 6.3)), 0, 1) ** 2
    out[f"{step}_raise"] = out[f"{step}_raise"] + lift * pulse
    return out


def _walk(random: np.random.Generator, time: np.ndarray) -> dict[str, np.ndarray]:
    way, pace = random.choice((-1, 1)), random.uniform(0.4, 0.7)
    phase = 2 * np.pi * pace * time + random.uniform(0, 6.3)
    middle = time - time.mean()
    out = {"yaw": np.full_like(time, way * random.uniform(35, 80)), "travel": way * 0.16 * pace * middle}
    for side, sign in (("right", 1), ("left", -1)):
        swing = sign * np.sin(phase)
        out[f"{side}_leg_raise"] = 26 * swing - REST["leg_raise"]
        out[f"{side}_leg_forward"] = np.full_like(time, 90.0)
        out[f"{side}_leg_bend"] = 8 + 30 * np.clip(sign * np.cos(phase), 0, 1)
        out[f"{side}_arm_raise"] = -24 * swing - REST["arm_raise"]
        out[f"{side}_arm_forward"] = np.full_like(time, 90.0)
        out[f"{side}_arm_bend"] = np.full_like(time, random.uniform(10, 35))
    return out


def _greet(random: np.random.Generator, time: np.ndarray) -> dict[str, np.ndarray]:
    side, beat = random.choice(("right", "left")), random.uniform(0.5, 0.8)
    out = sway(random, time, beat / 2, 0.5) | bounce(random, time, beat / 2, random.uniform(0, 6))
    out[f"{side}_arm_raise"] = random.uniform(70, 130) + wave(random, time, beat / 2, 8)
    out[f"{side}_arm_bend"] = random.uniform(20, 50) + wave(random, time, beat, random.uniform(18, 32), 0.1)
    return out


def _turn(random: np.random.Generator, time: np.ndarray) -> dict[str, np.ndarray]:
    beat = random.uniform(0.25, 0.45)
    out = sway(random, time, beat, 0.5) | bounce(random, time, beat, random.uniform(0, 12))
    if random.random() < 0.5:
        out["yaw"] = wave(random, time, beat * 0.6, random.uniform(50, 100), 0.1)
    else:
        pace = random.choice((-1, 1)) * random.uniform(50, 100)
        out["yaw"] = pace * (time - time[0]) + random.uniform(-40, 40)
    for side in ("right", "left"):
        out[f"{side}_arm_raise"] = random.uniform(10, 80) + wave(random, time, beat, 14)
        out[f"{side}_arm_bend"] = random.uniform(-10, 40) + wave(random, time, beat, 14)
    return out


def _jacks(random: np.random.Generator, time: np.ndarray) -> dict[str, np.ndarray]:
    beat, high = random.uniform(0.3, 0.5), random.uniform(80, 140)
    up = 0.5 - 0.5 * np.cos(2 * np.pi * beat * time)
    out = sway(random, time, beat, 0.2) | {"jump": 0.03 * np.sin(2 * np.pi * beat * time) ** 2}
    for side in ("right", "left"):
        out |= {f"{side}_arm_raise": high * up, f"{side}_leg_raise": random.uniform(12, 20) * up}
    return out


KINDS: dict[str, Kind] = {
    "dance": _dance,
    "walk": _walk,
    "wave": _greet,
    "turn": _turn,
    "jacks": _jacks,
}
