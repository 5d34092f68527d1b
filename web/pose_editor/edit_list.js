/** Reads the list of edits that a workflow stores, by the rules of dwpose/edit/edit_list.py, and writes it. */
import { JOINTS, PARTS } from "./skeleton.js";

export const VERSION = 1;
export const OPERATIONS = [
    "move", "place", "paste", "show", "hide", "nobody", "scale", "swap_sides", "exchange", "split",
];
const MAX_EDITS = 20_000;
const MAX_EASE = 1000;
const MAX_SHIFT = 10;
const MAX_WHOLE = 2 ** 31;
export const SCALE_RANGE = [0.1, 10];
const WITH_VALUES = ["move", "place"];
const WITH_OTHER = ["exchange", "split"];

/** Why an edit is skipped. */
export class Unfit extends Error {}

/**
 * Return {rows, edits, notes}: the rows as they are stored, the edits that can be read, and the numbers, from 1, of
 * those that cannot with the reason. An Error if the text as a whole is no list of edits.
 */
export function readEdits(text) {
    if (!text.trim()) {
        return { rows: [], edits: [], notes: [] };
    }
    const found = JSON.parse(text);
    if (!Array.isArray(found?.edits)) {
        throw new Error('The edits are not {"version": 1, "edits": [...]}.');
    }
    if (found.version !== VERSION) {
        throw new Error(`The edits are of version ${found.version}; this page reads version ${VERSION}.`);
    }
    if (found.edits.length > MAX_EDITS) {
        throw new Error(`There are ${found.edits.length} edits; at most ${MAX_EDITS} are read.`);
    }
    const edits = [];
    const notes = [];
    found.edits.forEach((row, index) => {
        try {
            edits.push(readEdit(row, index + 1));
        } catch (error) {
            if (!(error instanceof Unfit)) {
                throw error;
            }
            notes.push([index + 1, error.message]);
        }
    });
    return { rows: found.edits, edits, notes };
}

/** Return the text that a workflow stores for rows; empty for none. */
export function writeEdits(rows) {
    return rows.length ? JSON.stringify({ version: VERSION, edits: rows }) : "";
}

/** Return one row as an edit with all its fields; Unfit if it is none. */
export function readEdit(row, number) {
    if (typeof row !== "object" || row === null || !OPERATIONS.includes(row.op)) {
        throw new Unfit(`it is none of ${OPERATIONS.join(", ")}.`);
    }
    const { op } = row;
    const start = whole(row, "from", 0);
    const stop = row.to === undefined || row.to === null ? null : whole(row, "to", start) + 1;
    const joints = Object.hasOwn(row, "joints") ? row.joints : WITH_VALUES.includes(op) ? {} : [];
    let values = [];
    let keypoints = [];
    if (WITH_VALUES.includes(op)) {
        if (Array.isArray(joints) || typeof joints !== "object" || !Object.keys(joints ?? {}).length) {
            throw new Unfit("it names no joints.");
        }
        values = Object.entries(joints).map(([name, place]) => [keypointsOf(name), placeOf(name, place)]);
    } else if (Array.isArray(joints)) {
        keypoints = [...new Set(joints.flatMap(keypointsOf))];
    } else {
        throw new Unfit("its joints are no list of names.");
    }
    return {
        number,
        op,
        person: op === "nobody" ? 1 : whole(row, "person", 1),
        start,
        stop,
        easeIn: whole(row, "ease_in", 0, MAX_EASE, 0),
        easeOut: whole(row, "ease_out", 0, MAX_EASE, 0),
        values,
        keypoints,
        part: op === "scale" ? partOf(row) : "",
        factor: op === "scale" ? factorOf(row) : 1,
        other: WITH_OTHER.includes(op) ? whole(row, "other", 1) : 0,
        source: op === "paste" ? whole(row, "source", 0) : 0,
    };
}

function whole(row, name, least, most = MAX_WHOLE, fallback = undefined) {
    const value = Object.hasOwn(row, name) ? row[name] : fallback;
    if (!Number.isInteger(value) || value < least || value > most) {
        throw new Unfit(`its "${name}" is ${JSON.stringify(value)}, and not a whole number from ${least} on.`);
    }
    return value;
}

function keypointsOf(name) {
    if (!JOINTS.has(name)) {
        throw new Unfit(`there is no joint ${JSON.stringify(name)}.`);
    }
    return JOINTS.get(name);
}

function placeOf(name, value) {
    const fits = Array.isArray(value) && value.length === 2
        && value.every(number => Number.isFinite(number) && Math.abs(number) <= MAX_SHIFT);
    if (!fits) {
        throw new Unfit(`${name} has no two numbers from -${MAX_SHIFT} to ${MAX_SHIFT}.`);
    }
    return value;
}

function partOf(row) {
    if (!Object.hasOwn(PARTS, row.part)) {
        throw new Unfit(`its "part" is none of ${Object.keys(PARTS).join(", ")}.`);
    }
    return row.part;
}

function factorOf(row) {
    const [low, high] = SCALE_RANGE;
    if (!Number.isFinite(row.factor) || row.factor < low || row.factor > high) {
        throw new Unfit(`its "factor" is ${JSON.stringify(row.factor)}, and not a number from ${low} to ${high}.`);
    }
    return row.factor;
}
