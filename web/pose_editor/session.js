/** What is edited, chosen and undone while the editor is open; no page in it. */
import { poseAt } from "./apply_edits.js";
import { readEdit, readEdits, SCALE_RANGE, writeEdits } from "./edit_list.js";
import { History } from "./history.js";
import { PART, pivotOf } from "./handles.js";
import { drag, FREE, KEEP_LENGTHS, ROTATE } from "./kinematics.js";
import {
    FACE, JOINTS, KEYPOINTS, LEFT_HAND, NAMES, PART_JOINTS, PARTS, RIGHT_HAND, VISIBLE_SCORE,
} from "./skeleton.js";
import { likelyPlaces, standing, TEMPLATE } from "./template.js";
import { Viewing } from "./viewing.js";

export const MODES = [FREE, KEEP_LENGTHS, ROTATE, PART];
export const SCOPES = ["frame", "range", "all"];
const HANDS = [["left_hand", LEFT_HAND], ["right_hand", RIGHT_HAND]];
const BODY = Array.from({ length: 18 }, (_, index) => index);
const SAME = 1e-6; // of the frame: what shifts may differ by and count as one
const PLACES = 1e5; // numbers are stored to a hundred-thousandth of the frame

export class Session extends Viewing {
    /** clip: as apply_edits.js takes it. text: the stored edits; an Error if they are no list. */
    constructor(clip, text, fps, onChange) {
        super(clip, fps, onChange);
        Object.assign(this, { mode: FREE, scope: "frame", range: [0, clip.frames - 1], parts: Object.keys(PARTS) });
        Object.assign(this, { easeIn: 0, easeOut: 0, copied: null, pending: null });
        this.history = new History(readEdits(text).rows, () => this.renew(true));
        this.renew(false);
    }

    get rows() {
        return this.history.value;
    }

    get text() {
        return writeEdits(this.rows);
    }

    renew(committed) {
        const { edits, notes } = readEdits(this.text);
        this.edits = edits;
        this.notes = notes;
        this.misfits = []; // [number, why] of edits that these poses have no place for: of people or frames not there
        poseAt(this.clip, edits, 0, edits.length, this.misfits);
        this.pending = null;
        this.version++;
        const people = [...this.people().keys()];
        if (!people.includes(this.person)) {
            this.person = Math.min(...people, Infinity);
            this.joints = new Set();
        }
        this.onChange(committed);
    }

    /** With all edits and the drag in progress. */
    peopleOf(frame) {
        return poseAt(this.clip, this.pending ? [...this.edits, this.pending] : this.edits, frame);
    }

    /** Return the place in the frame about which the chosen part scales. */
    get pivot() {
        return pivotOf(this.pose, this.part);
    }

    setRange(from, to) {
        this.range = [Math.min(from, to), Math.max(from, to)];
        this.scope = "range";
        this.onChange(false);
    }

    /** Return the frames that an edit made now is for, with its easing. */
    span() {
        const [from, to] = this.range;
        let span = { from: this.frame, to: this.frame };
        if (this.scope === "all") {
            span = { from: 0 };
        } else if (this.scope === "range" && from <= this.frame && this.frame <= to) {
            span = { from, to };
        }
        if (this.easeIn) {
            span.ease_in = this.easeIn;
        }
        if (this.easeOut) {
            span.ease_out = this.easeOut;
        }
        return span;
    }

    /** Add an edit; a move that only goes on with the last one becomes one with it. */
    add(row) {
        const last = this.rows.at(-1);
        const sum = last && joined(last, row);
        this.history.push(sum ? [...this.rows.slice(0, -1), sum] : [...this.rows, row]);
    }

    startDrag() {
        const { points, scores } = this.pose;
        this.base = { points: points.slice(), scores };
    }

    /** Drag a keypoint to a place in fractions of the frame; shown, and not yet an edit. */
    dragTo(keypoint, target) {
        const moved = drag(this.base.points, keypoint, target, this.mode, this.aspect, [...this.joints]);
        this.move(moved);
    }

    /** Shift the chosen part from where the drag began, by fractions of the frame; shown, and not yet an edit. */
    shiftPart(dx, dy) {
        const { points } = this.base;
        const found = PART_JOINTS[this.part].filter(index => isFound(points, index));
        this.move(new Map(found.map(index => [index, [points[2 * index] + dx, points[2 * index + 1] + dy]])));
    }

    scalePart(factor) {
        const [low, high] = SCALE_RANGE;
        const fitted = rounded(Math.min(high, Math.max(low, factor)));
        this.preview(fitted === 1 ? null
            : { op: "scale", person: this.person, ...this.span(), part: this.part, factor: fitted });
    }

    /** moved: a Map from keypoints to their new places. */
    move(moved) {
        const joints = shifts(this.base.points, moved);
        this.preview(Object.keys(joints).length ? { op: "move", person: this.person, ...this.span(), joints } : null);
    }

    preview(row) {
        this.row = row;
        this.pending = row && readEdit(row, this.rows.length + 1);
        this.version++;
        this.onChange(false);
    }

    endDrag() {
        const row = this.row;
        this.row = null;
        this.pending = null;
        this.version++;
        if (row) {
            this.add(row);
        }
    }

    /** Move the selected joints by pixels of the frame, by way of the first of them; or the chosen part. */
    nudge(dx, dy) {
        if (this.mode === PART) {
            this.startDrag();
            this.shiftPart(dx / this.clip.width, dy / this.clip.height);
            this.endDrag();
            return;
        }
        const [first] = this.joints;
        if (first === undefined) {
            return;
        }
        this.startDrag();
        const [x, y] = [this.base.points[2 * first], this.base.points[2 * first + 1]];
        this.dragTo(first, [x + dx / this.clip.width, y + dy / this.clip.height]);
        this.endDrag();
    }

    hide(keypoints = [...this.joints]) {
        this.add({ op: "hide", person: this.person, ...this.span(), joints: namesOf(keypoints) });
    }

    /** Show keypoints where the detector saw them without being sure, else where they are likely. */
    show(keypoints) {
        const pose = this.pose;
        const guessed = keypoints.filter(index => isFound(pose.points, index));
        const missing = keypoints.filter(index => !guessed.includes(index) && TEMPLATE[index]);
        const rows = [];
        if (guessed.length) {
            rows.push({ op: "show", person: this.person, ...this.span(), joints: namesOf(guessed) });
        }
        if (missing.length) {
            rows.push(this.placing(this.person, likelyPlaces(pose, missing, this.aspect)));
        }
        if (rows.length) {
            this.history.push([...this.rows, ...rows]);
        }
    }

    isVisible(keypoint) {
        return this.pose?.scores[keypoint] >= VISIBLE_SCORE;
    }

    addPerson() {
        const person = this.nextPerson();
        this.add(this.placing(person, standing(BODY, this.aspect)));
        this.choose(person);
    }

    placing(person, places) {
        const joints = Object.fromEntries([...places].map(([index, place]) => [NAMES[index], place.map(rounded)]));
        return { op: "place", person, ...this.span(), joints };
    }

    nextPerson() {
        return Math.max(0, ...this.people().keys()) + 1;
    }

    deletePerson() {
        this.add({ op: "hide", person: this.person, ...this.span() });
    }

    nobody() {
        this.add({ op: "nobody", ...this.span() });
    }

    swapSides() {
        this.add({ op: "swap_sides", person: this.person, ...this.span() });
    }

    /** Exchange the person with another, from this frame to the end. */
    exchange(other) {
        this.add({ op: "exchange", person: this.person, from: this.frame, other });
    }

    /** Make the person another one from this frame on. */
    split() {
        const other = this.nextPerson();
        this.add({ op: "split", person: this.person, from: this.frame, other });
        this.choose(other);
    }

    scaleBy(factor) {
        this.startDrag();
        this.scalePart(factor);
        this.endDrag();
    }

    copy() {
        this.copied = this.frame;
    }

    paste() {
        if (this.copied !== null) {
            this.add({ op: "paste", person: this.person, ...this.span(), source: this.copied });
        }
    }
}

/** Return whether the detector gave the keypoint a place, be it without being sure. */
function isFound(points, keypoint) {
    return points[2 * keypoint] || points[2 * keypoint + 1];
}

/** Return the shifts by name of joint, for the row of a move. */
function shifts(points, moved) {
    const joints = {};
    const put = (name, keypoint) => {
        const [x, y] = moved.get(keypoint);
        const shift = [rounded(x - points[2 * keypoint]), rounded(y - points[2 * keypoint + 1])];
        if (shift[0] || shift[1]) {
            joints[name] = shift;
        }
    };
    const whole = HANDS.filter(([, hand]) => hand.every(index => moved.has(index)) && movesAsOne(points, moved, hand));
    whole.forEach(([name, hand]) => put(name, hand[0]));
    const covered = new Set([...FACE, ...whole.flatMap(([, hand]) => hand)]);
    [...moved.keys()].filter(index => !covered.has(index)).forEach(index => put(NAMES[index], index));
    if (joints.nose) {
        joints.face = joints.nose; // it is neither shown nor dragged, and follows
    }
    return joints;
}

function movesAsOne(points, moved, keypoints) {
    const shift = index => moved.get(index).map((value, axis) => value - points[2 * index + axis]);
    const [dx, dy] = shift(keypoints[0]);
    return keypoints.every(index => {
        const [x, y] = shift(index);
        return Math.abs(x - dx) < SAME && Math.abs(y - dy) < SAME;
    });
}

/** Return one move for two after each other of the same joints in the same frames, else null. */
function joined(last, row) {
    const { joints: before, ...rest } = last;
    const { joints: after, ...same } = row;
    const alike = last.op === "move" && JSON.stringify(rest) === JSON.stringify(same)
        && Object.keys(before).sort().join() === Object.keys(after).sort().join();
    if (!alike) {
        return null;
    }
    const sums = Object.entries(before).map(([name, [x, y]]) => [
        name, [rounded(x + after[name][0]), rounded(y + after[name][1])],
    ]);
    return { ...same, joints: Object.fromEntries(sums) };
}

function namesOf(keypoints) {
    const chosen = new Set(keypoints);
    const whole = HANDS.filter(([, hand]) => hand.every(index => chosen.has(index)));
    whole.forEach(([, hand]) => hand.forEach(index => chosen.delete(index)));
    return [...whole.map(([name]) => name), ...new Set([...chosen].map(index => NAMES[index]))];
}

function rounded(value) {
    return Math.round(value * PLACES) / PLACES;
}

/** The rows of the list of joints: [name, keypoints], with each hand as one. */
export const JOINT_ROWS = [...JOINTS].filter(([name, keypoints]) =>
    name !== "face" && (keypoints.length > 1 || keypoints[0] < FACE[0]));
export const ALL_SHOWN = Array.from({ length: KEYPOINTS }, (_, index) => index).filter(index => !FACE.includes(index));
