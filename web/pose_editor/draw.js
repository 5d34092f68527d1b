/** Draws skeletons onto a canvas in the colors that the model is given; no face, as the model gets none. */
import { FACE, FOOT_LIMBS, HAND_EDGES, KEYPOINTS, LEFT_HAND, LIMBS, RIGHT_HAND, VISIBLE_SCORE } from "./skeleton.js";

const BODY_JOINTS = 24; // with the feet
const LIMB_WIDTH = 4;
const JOINT_RADIUS = 4;
const HAND_RADIUS = 2;
const FOOT_COLOR = "#888";
const HAND_JOINT_COLOR = "rgb(255, 0, 0)";
const CHOSEN_COLOR = "#fff";

/** The model is shown red and blue exchanged, joint i of 18 with the hue of i / 18. */
const COLORS = Array.from({ length: 18 }, (_, index) => (600 - 20 * index) % 360);
const JOINT_COLORS = COLORS.map(hue => `hsl(${hue} 100% 50%)`);
const LIMB_COLORS = COLORS.map(hue => `hsl(${hue} 100% 30%)`);
const HAND_COLORS = HAND_EDGES.map((_, index) => `hsl(${(600 - index * 360 / HAND_EDGES.length) % 360} 100% 50%)`);
const LINES = [
    ...LIMBS.map(([from, to], index) => [from, to, LIMB_COLORS[index], LIMB_WIDTH]),
    ...FOOT_LIMBS.map(([from, to]) => [from, to, FOOT_COLOR, 2]),
    ...[LEFT_HAND, RIGHT_HAND].flatMap(hand =>
        HAND_EDGES.map(([from, to], index) => [hand[from], hand[to], HAND_COLORS[index], 1.5])),
];

/** Draw a pose through the view; alpha: of the whole, lit: keypoints with a ring. */
export function drawPose(context, view, { points, scores }, { alpha = 1, lit = null } = {}) {
    const places = new Float64Array(KEYPOINTS * 2);
    for (let index = 0; index < KEYPOINTS; index++) {
        const [x, y] = view.toCanvas(points[2 * index], points[2 * index + 1]);
        places[2 * index] = x;
        places[2 * index + 1] = y;
    }
    const seen = index => scores[index] >= VISIBLE_SCORE;
    context.globalAlpha = alpha;
    context.lineCap = "round";
    for (const [from, to, color, width] of LINES) {
        if (seen(from) && seen(to)) {
            context.strokeStyle = color;
            context.lineWidth = width;
            context.beginPath();
            context.moveTo(places[2 * from], places[2 * from + 1]);
            context.lineTo(places[2 * to], places[2 * to + 1]);
            context.stroke();
        }
    }
    for (let index = 0; index < KEYPOINTS; index++) {
        const isFace = index >= FACE[0] && index <= FACE.at(-1);
        if (!isFace && seen(index)) {
            const small = index >= BODY_JOINTS;
            context.fillStyle = small ? HAND_JOINT_COLOR : JOINT_COLORS[index] ?? FOOT_COLOR;
            dot(context, places[2 * index], places[2 * index + 1], small ? HAND_RADIUS : JOINT_RADIUS);
            if (lit?.has(index)) {
                context.strokeStyle = CHOSEN_COLOR;
                context.lineWidth = 2;
                context.stroke();
            }
        }
    }
    context.globalAlpha = 1;
}

/** Write a name beside a place of the canvas, readable on any background. */
export function drawLabel(context, text, [x, y]) {
    context.font = "13px system-ui, sans-serif";
    const width = context.measureText(text).width;
    context.fillStyle = "rgb(0 0 0 / 75%)";
    context.fillRect(x + 10, y - 26, width + 10, 20);
    context.fillStyle = "#fff";
    context.fillText(text, x + 15, y - 12);
}

/** Return [person, keypoint] of the seen joint nearest to a place of the canvas, within `reach` pixels, else null. */
export function jointAt(people, view, [x, y], reach, preferred) {
    let best = null;
    let least = reach;
    for (const [person, { points, scores }] of people) {
        for (let index = 0; index < KEYPOINTS; index++) {
            if (scores[index] >= VISIBLE_SCORE && (index < FACE[0] || index > FACE.at(-1))) {
                const [left, top] = view.toCanvas(points[2 * index], points[2 * index + 1]);
                // The body goes before hands, which have it in their wrists, and the chosen person before others.
                const away = Math.hypot(left - x, top - y) + (index >= BODY_JOINTS) + 2 * (person !== preferred);
                if (away < least) {
                    least = away;
                    best = [person, index];
                }
            }
        }
    }
    return best;
}

/** Return [person, [from, to]] of the limb under a place of the canvas, else null. */
export function limbAt(people, view, place, reach) {
    for (const [person, { points, scores }] of people) {
        for (const [from, to] of LINES) {
            if (scores[from] >= VISIBLE_SCORE && scores[to] >= VISIBLE_SCORE) {
                const ends = [from, to].map(index => view.toCanvas(points[2 * index], points[2 * index + 1]));
                if (distanceToLine(place, ...ends) < reach) {
                    return [person, [from, to]];
                }
            }
        }
    }
    return null;
}

function distanceToLine([x, y], [ax, ay], [bx, by]) {
    const square = (bx - ax) ** 2 + (by - ay) ** 2 || 1;
    const part = Math.min(1, Math.max(0, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / square));
    return Math.hypot(x - ax - part * (bx - ax), y - ay - part * (by - ay));
}

function dot(context, x, y, radius) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
}
