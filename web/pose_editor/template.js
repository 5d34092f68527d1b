/** A standing person, from whom missing joints and whole people are placed. Lengths are in heights of the person. */
import { JOINTS, KEYPOINTS, PARENTS, VISIBLE_SCORE } from "./skeleton.js";

const HEIGHT = 0.8; // of a person who fills the frame
const LEFT_SIDE = {
    shoulder: [0.11, 0.19], elbow: [0.14, 0.34], wrist: [0.15, 0.48], hip: [0.07, 0.51], knee: [0.075, 0.73],
    ankle: [0.08, 0.94], eye: [0.018, 0.075], ear: [0.04, 0.085], big_toe: [0.09, 0.99], small_toe: [0.12, 0.98],
    heel: [0.08, 0.97],
};
const MIDDLE = { nose: [0, 0.09], neck: [0, 0.19] };
const FINGERS = [-0.7, -0.25, 0, 0.2, 0.45]; // radians from straight down, from the thumb on
const PHALANX = 0.016;
const CENTER = [0, 0.5];

/** Array of [x, y] by keypoint, null for the face: x from the middle of the body, y from the top of the head. */
export const TEMPLATE = (() => {
    const places = new Array(KEYPOINTS).fill(null);
    const put = (name, place) => { places[JOINTS.get(name)[0]] = place; };
    Object.entries(MIDDLE).forEach(([name, place]) => put(name, place));
    for (const [side, sign] of [["left", 1], ["right", -1]]) {
        Object.entries(LEFT_SIDE).forEach(([name, [x, y]]) => put(`${side}_${name}`, [sign * x, y]));
        const [wristX, wristY] = LEFT_SIDE.wrist;
        JOINTS.get(`${side}_hand`).forEach((keypoint, index) => {
            const angle = FINGERS[Math.max(0, Math.ceil(index / 4) - 1)];
            const reach = index ? PHALANX * (2 + (index - 1) % 4) : 0;
            places[keypoint] = [sign * (wristX + reach * Math.sin(angle)), wristY + reach * Math.cos(angle)];
        });
    }
    return places;
})();

/** Return a Map from `keypoints` to places [x, y] in the middle of a frame of this width / height. */
export function standing(keypoints, aspect) {
    const size = Math.min(HEIGHT, HEIGHT * 2.5 * aspect);
    return new Map(keypoints.map(keypoint => {
        const [x, y] = TEMPLATE[keypoint];
        return [keypoint, [0.5 + (x - CENTER[0]) * size / aspect, 0.5 + (y - CENTER[1]) * size]];
    }));
}

/**
 * Return a Map from `keypoints` to where they are likely in a pose that lacks them: as far from the joint they hang on
 * as in the template, in the size of the joints that are seen; in the middle of the frame if fewer than two are.
 */
export function likelyPlaces({ points, scores }, keypoints, aspect) {
    const seen = TEMPLATE.map((_, index) => index).filter(index => TEMPLATE[index] && scores[index] >= VISIBLE_SCORE);
    const places = standing(keypoints, aspect);
    if (seen.length < 2) {
        return places;
    }
    const here = index => [points[2 * index] * aspect, points[2 * index + 1]];
    const [mine, theirs] = [mean(seen.map(here)), mean(seen.map(index => TEMPLATE[index]))];
    let [product, square] = [0, 0];
    for (const index of seen) {
        const [x, y] = here(index);
        const [u, v] = TEMPLATE[index];
        product += (x - mine[0]) * (u - theirs[0]) + (y - mine[1]) * (v - theirs[1]);
        square += (u - theirs[0]) ** 2 + (v - theirs[1]) ** 2;
    }
    const size = Math.max(0.05, product / square);
    const found = new Map();
    const placeOf = index => {
        if (seen.includes(index)) {
            return here(index);
        }
        if (found.has(index)) {
            return found.get(index);
        }
        const parent = PARENTS[index];
        const from = parent < 0 ? theirs : TEMPLATE[parent];
        const [x, y] = parent < 0 ? mine : placeOf(parent);
        found.set(index, [x + size * (TEMPLATE[index][0] - from[0]), y + size * (TEMPLATE[index][1] - from[1])]);
        return found.get(index);
    };
    for (const keypoint of keypoints) {
        const [x, y] = placeOf(keypoint);
        places.set(keypoint, [x / aspect, y]);
    }
    return places;
}

function mean(places) {
    const sum = places.reduce(([x, y], [u, v]) => [x + u, y + v], [0, 0]);
    return sum.map(value => value / places.length);
}
