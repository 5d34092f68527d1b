/**
 * The corrections of an alignment: scale and shift of the body, the head, the arms and the legs; the same numbers as
 * dwpose/edit/corrections.py gives. They are an object by the names of the nodes' inputs, such as {body_scale: 1.1}.
 */
import { CHAIN, KEYPOINTS, NECK, PART_JOINTS, PARTS, VISIBLE_SCORE } from "./skeleton.js";

/** Of each input: its value without a correction, its least and largest value, and its decimals. */
export const LIMITS = { scale: [1, 0.1, 10, 2], x: [0, -2, 2, 3], y: [0, -2, 2, 3] };
const SCALED = Object.keys(PARTS).filter(part => part !== "body");

/** Return the correction of a part as {scale, x, y}; a part that the node does not correct has none. */
export function correctionOf(values, part) {
    return Object.fromEntries(Object.entries(LIMITS).map(([key, [unchanged]]) =>
        [key, values[`${part}_${key}`] ?? unchanged]));
}

/** Return a value as the input of the node takes it. */
export function fitting(name, value) {
    const [, least, most, decimals] = LIMITS[name.split("_")[1]];
    return Number(Math.min(most, Math.max(least, value)).toFixed(decimals));
}

/**
 * Return a pose corrected. neck: [x, y] of the person's neck in the anchor frame, about which the body scales. All are
 * fractions of the frame; aspect: its width / height. An unseen neck has to be where Python's `with_necks` puts it.
 */
export function correctedPose({ points, scores }, neck, values, aspect) {
    const placed = points.map((value, index) => index % 2 ? value : value * aspect);
    const parts = SCALED.map(part => [part, correctionOf(values, part)]);
    if (parts.some(([, { scale }]) => scale !== 1)) {
        scaleLimbs(placed, scores, Object.fromEntries(parts));
    }
    for (const [part, { x, y }] of parts) {
        for (const keypoint of PART_JOINTS[part]) {
            placed[2 * keypoint] += x;
            placed[2 * keypoint + 1] += y;
        }
    }
    const body = correctionOf(values, "body");
    const center = [neck[0] * aspect, neck[1]];
    const shift = [body.x, body.y];
    const corrected = placed.map((value, index) => {
        const axis = index % 2;
        const moved = center[axis] + body.scale * (value - center[axis]) + shift[axis];
        return axis ? moved : moved / aspect;
    });
    return { points: corrected, scores };
}

/** Scale limbs about the joints they hang on; an unseen joint lies on its parent, as in dwpose/edit/proportions.py. */
function scaleLimbs(points, scores, corrections) {
    const old = points.slice();
    for (const [children, parent, name] of CHAIN) {
        const part = SCALED.find(part => PARTS[part].includes(name));
        const ratio = part ? corrections[part].scale : 1;
        for (const child of children) {
            const seen = scores[child] >= VISIBLE_SCORE;
            for (const axis of [0, 1]) {
                const [to, from] = [2 * child + axis, 2 * parent + axis];
                old[to] = seen ? old[to] : old[from];
                points[to] = points[from] + ratio * (old[to] - old[from]);
            }
        }
    }
}

/** Return the neck of each person in their anchor frame, by number. anchors: that frame by number. */
export function anchorNecks({ people }, anchors) {
    return new Map([...people].map(([number, { points }]) => {
        const start = 2 * ((anchors[number] ?? 0) * KEYPOINTS + NECK);
        return [number, [points[start], points[start + 1]]];
    }));
}
