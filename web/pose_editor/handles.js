/** The box around a part of the body: dragging it shifts the part, dragging a corner scales it. */
import { NECK, PART_JOINTS, VISIBLE_SCORE } from "./skeleton.js";

export const PART = "body part"; // the mode in which the handles are there
const PIVOTS = { body: [NECK], head: [NECK], arms: [2, 5], legs: [8, 11] };
const MARGIN = 14; // CSS pixels between the joints and the box
const CORNER = 9;
const REACH = 9;
const LEAST_ARM = 24; // from the pivot to a corner, or a slight move would scale wildly
const COLOR = "#ffd24a";

/** Return the part of `parts` that these keypoints belong to; the body for neck and trunk. */
export function partOf(keypoints, parts) {
    return parts.find(part => part !== "body" && keypoints.every(index => PART_JOINTS[part].includes(index))) ?? "body";
}

/** Return the place in the frame about which a part scales: the middle of the joints that it hangs on. */
export function pivotOf({ points, scores }, part) {
    const seen = PIVOTS[part].filter(index => scores[index] >= VISIBLE_SCORE);
    const joints = seen.length ? seen : PIVOTS[part];
    return [0, 1].map(axis => joints.reduce((sum, index) => sum + points[2 * index + axis], 0) / joints.length);
}

/** Return the box around the chosen part as [left, top, right, bottom] on the canvas, null if nothing of it is seen. */
export function boxOf({ pose, part }, view) {
    const seen = pose ? PART_JOINTS[part].filter(index => pose.scores[index] >= VISIBLE_SCORE) : [];
    if (!seen.length) {
        return null;
    }
    const places = seen.map(index => view.toCanvas(pose.points[2 * index], pose.points[2 * index + 1]));
    const [xs, ys] = [0, 1].map(axis => places.map(place => place[axis]));
    return [Math.min(...xs) - MARGIN, Math.min(...ys) - MARGIN, Math.max(...xs) + MARGIN, Math.max(...ys) + MARGIN];
}

/** Return the corners that scale the part, as [x, y] on the canvas. */
export function cornersOf(session, view) {
    const box = boxOf(session, view);
    if (!box) {
        return [];
    }
    const [left, top, right, bottom] = box;
    const pivot = view.toCanvas(...session.pivot);
    return [[left, top], [right, top], [left, bottom], [right, bottom]]
        .filter(([x, y]) => Math.hypot(x - pivot[0], y - pivot[1]) >= LEAST_ARM);
}

/** Return {pivot, arm} of the corner at a place of the canvas: the center of scaling and its distance; else null. */
export function cornerAt(session, view, [x, y]) {
    const corner = cornersOf(session, view).find(([left, top]) => Math.hypot(left - x, top - y) <= REACH);
    if (!corner) {
        return null;
    }
    const pivot = view.toCanvas(...session.pivot);
    return { pivot, arm: Math.hypot(x - pivot[0], y - pivot[1]) };
}

export function isInside(session, view, [x, y]) {
    const box = boxOf(session, view);
    return Boolean(box) && x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3];
}

export function drawHandles(context, session, view) {
    const box = boxOf(session, view);
    if (!box) {
        return;
    }
    const [left, top, right, bottom] = box;
    context.strokeStyle = COLOR;
    context.lineWidth = 1.5;
    context.setLineDash([6, 4]);
    context.strokeRect(left, top, right - left, bottom - top);
    context.setLineDash([]);
    context.fillStyle = COLOR;
    for (const [x, y] of cornersOf(session, view)) {
        context.fillRect(x - CORNER / 2, y - CORNER / 2, CORNER, CORNER);
    }
    const [x, y] = view.toCanvas(...session.pivot);
    context.beginPath();
    context.arc(x, y, CORNER / 2, 0, 2 * Math.PI);
    context.stroke();
}
