/**
 * The skeleton as tables, in the order and with the names of dwpose/skeleton.py and dwpose/edit/edit_list.py.
 *
 * A pose is two arrays: points, Float64Array of 2 x 134 fractions of the frame, and scores, Float64Array of 134.
 */
export const KEYPOINTS = 134;
export const VISIBLE_SCORE = 0.35;

const BODY_NAMES = [
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear",
];
const FOOT_NAMES = ["left", "right"].flatMap(side => ["big_toe", "small_toe", "heel"].map(point => `${side}_${point}`));
export const FACE = range(24, 92);
export const LEFT_HAND = range(92, 113);
export const RIGHT_HAND = range(113, 134);
export const NECK = 1;

/** Name: the keypoints that it stands for. */
export const JOINTS = new Map([
    ...BODY_NAMES.map((name, index) => [name, [index]]),
    ...FOOT_NAMES.map((name, index) => [name, [18 + index]]),
    ["face", FACE],
    ["left_hand", LEFT_HAND],
    ["right_hand", RIGHT_HAND],
    ...LEFT_HAND.map((keypoint, index) => [`left_hand_${index}`, [keypoint]]),
    ...RIGHT_HAND.map((keypoint, index) => [`right_hand_${index}`, [keypoint]]),
]);

/** The name of each keypoint; a point of the face has that of the face. */
export const NAMES = range(0, KEYPOINTS).map(keypoint =>
    [...JOINTS].find(([, points]) => points.includes(keypoint) && (points.length === 1 || points === FACE))[0]);

/** The joints at which each limb starts and ends; limb i has the color of joint i. */
export const LIMBS = [
    [1, 2], [1, 5], [2, 3], [3, 4], [5, 6], [6, 7], [1, 8], [8, 9], [9, 10], [1, 11], [11, 12], [12, 13], [1, 0],
    [0, 14], [14, 16], [0, 15], [15, 17],
];
export const FOOT_LIMBS = [[13, 18], [13, 19], [13, 20], [10, 21], [10, 22], [10, 23]];
export const HAND_EDGES = range(1, 21).map(joint => [joint % 4 === 1 ? 0 : joint - 1, joint]);

/** Keypoints that hang on a parent, and the part of the body that they scale with; from the neck outward. */
export const CHAIN = [
    [[0], 1, "neck"],
    [[14, 16], 0, "face_right"],
    [[15, 17], 0, "face_left"],
    [FACE, 0, "face"],
    [[2, 5], 1, "shoulders"],
    [[3], 2, "upper_arm"],
    [[4], 3, "lower_arm"],
    [RIGHT_HAND, 4, "hand"],
    [[6], 5, "upper_arm"],
    [[7], 6, "lower_arm"],
    [LEFT_HAND, 7, "hand"],
    [[8, 11], 1, "torso"],
    [[9], 8, "upper_leg"],
    [[10], 9, "lower_leg"],
    [[21, 22, 23], 10, "lower_leg"],
    [[12], 11, "upper_leg"],
    [[13], 12, "lower_leg"],
    [[18, 19, 20], 13, "lower_leg"],
];

/** What the corrections of each part scale; "body" is all of it. */
export const PARTS = {
    body: [],
    head: ["neck", "face_right", "face_left", "face"],
    arms: ["upper_arm", "lower_arm", "hand"],
    legs: ["upper_leg", "lower_leg"],
};

/** The joints that move with each part; "body" is all of them. */
export const PART_JOINTS = {
    body: range(0, KEYPOINTS),
    head: [0, 14, 15, 16, 17, ...FACE],
    arms: [2, 3, 5, 6, 4, 7, ...LEFT_HAND, ...RIGHT_HAND],
    legs: [8, 9, 11, 12, 10, 13, ...range(18, 24)],
};

/** Right keypoints and their left twins. */
export const SIDES = [
    [2, 5], [3, 6], [4, 7], [8, 11], [9, 12], [10, 13], [14, 15], [16, 17],
    ...RIGHT_HAND.map((keypoint, index) => [keypoint, LEFT_HAND[index]]),
    ...range(0, 3).map(index => [21 + index, 18 + index]),
];

/** The keypoint that each keypoint hangs on; -1 for the neck. */
export const PARENTS = (() => {
    const parents = new Int16Array(KEYPOINTS).fill(-1);
    for (const [children, parent] of CHAIN) {
        children.forEach(child => { parents[child] = parent; });
    }
    // Inside a hand each joint hangs on the one before it along its finger.
    for (const hand of [LEFT_HAND, RIGHT_HAND]) {
        HAND_EDGES.forEach(([from, to]) => { parents[hand[to]] = hand[from]; });
    }
    return parents;
})();

const CHILDREN = range(0, KEYPOINTS).map(parent => range(0, KEYPOINTS).filter(child => PARENTS[child] === parent));

/** Return the keypoints that hang on `keypoint`, directly or not, without itself. */
export function descendants(keypoint) {
    return CHILDREN[keypoint].flatMap(child => [child, ...descendants(child)]);
}

function range(start, stop) {
    return Array.from({ length: stop - start }, (_, index) => start + index);
}
