/**
 * What a drag does to a pose: free, along with all that hangs on the joint, turned about its parent, or with kept bone
 * lengths (inverse kinematics of arms and legs). All take and return points as fractions of the frame.
 */
import { descendants, PARENTS } from "./skeleton.js";

export const FREE = "free";
export const KEEP_LENGTHS = "keep bone lengths";
export const ROTATE = "rotate about parent";

/** End of a limb: the joint in its middle and the one that it hangs on. */
const TWO_BONES = new Map([[4, [3, 2]], [7, [6, 5]], [10, [9, 8]], [13, [12, 11]]]);

/**
 * Return a Map from keypoints to their new [x, y] when `keypoint` is dragged to `target`.
 *
 * points: Float64Array of the pose. together: keypoints that are selected too, which follow a free drag. aspect: the
 * frame's width / height.
 */
export function drag(points, keypoint, target, mode, aspect, together = []) {
    const here = at(points, keypoint, aspect);
    const there = [target[0] * aspect, target[1]];
    const moved = new Map();
    if (mode === FREE || PARENTS[keypoint] < 0) {
        const carried = mode === FREE ? [keypoint, ...together] : [keypoint, ...descendants(keypoint)];
        shift(points, new Set(carried), [there[0] - here[0], there[1] - here[1]], aspect, moved);
    } else if (mode === ROTATE) {
        turnAbout(points, keypoint, at(points, PARENTS[keypoint], aspect), there, aspect, moved);
    } else if (TWO_BONES.has(keypoint)) {
        bend(points, keypoint, there, aspect, moved);
    } else {
        turnAbout(points, keypoint, at(points, PARENTS[keypoint], aspect), there, aspect, moved);
    }
    return new Map([...moved].map(([index, [x, y]]) => [index, [x / aspect, y]]));
}

/** Turn a joint and all that hangs on it about `center`, so that it points at `there`. */
function turnAbout(points, keypoint, center, there, aspect, moved) {
    const here = at(points, keypoint, aspect);
    const angle = direction(center, there) - direction(center, here);
    for (const index of [keypoint, ...descendants(keypoint)]) {
        moved.set(index, turned(at(points, index, aspect), center, angle));
    }
}

/**
 * Bend a limb of two bones so that its end reaches `there`, or points at it where it is too short. The joint between
 * stays on its side; what hangs on the end keeps its angle to the lower bone.
 */
function bend(points, end, there, aspect, moved) {
    const [middle, root] = TWO_BONES.get(end);
    const [a, b, c] = [root, middle, end].map(index => at(points, index, aspect));
    const [upper, lower] = [distance(a, b), distance(b, c)];
    const reach = Math.min(upper + lower, Math.max(Math.abs(upper - lower), distance(a, there)));
    const side = Math.sign((c[0] - a[0]) * (b[1] - a[1]) - (c[1] - a[1]) * (b[0] - a[0])) || 1;
    const cosine = reach && upper ? (upper ** 2 + reach ** 2 - lower ** 2) / (2 * upper * reach) : 1;
    const way = direction(a, there);
    const opening = way + side * Math.acos(Math.min(1, Math.max(-1, cosine)));
    const elbow = [a[0] + upper * Math.cos(opening), a[1] + upper * Math.sin(opening)];
    const wrist = [a[0] + reach * Math.cos(way), a[1] + reach * Math.sin(way)];
    const angle = direction(elbow, wrist) - direction(b, c);
    moved.set(middle, elbow).set(end, wrist);
    for (const index of descendants(end)) {
        const place = turned(at(points, index, aspect), c, angle);
        moved.set(index, [place[0] + wrist[0] - c[0], place[1] + wrist[1] - c[1]]);
    }
}

function shift(points, keypoints, [dx, dy], aspect, moved) {
    for (const index of keypoints) {
        const [x, y] = at(points, index, aspect);
        moved.set(index, [x + dx, y + dy]);
    }
}

function at(points, keypoint, aspect) {
    return [points[2 * keypoint] * aspect, points[2 * keypoint + 1]];
}

function distance(a, b) {
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
}

function direction(a, b) {
    return Math.atan2(b[1] - a[1], b[0] - a[0]);
}

function turned([x, y], [centerX, centerY], angle) {
    const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
    const [dx, dy] = [x - centerX, y - centerY];
    return [centerX + cosine * dx - sine * dy, centerY + sine * dx + cosine * dy];
}
