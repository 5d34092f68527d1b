/**
 * How the poses of one frame look with the edits; the same numbers as dwpose/edit/edit_apply.py gives.
 *
 * A clip is {width, height, frames, people}, with people a Map from their numbers to {points, scores} of all frames:
 * Float64Array or Float32Array of frames x 134 x 2 and frames x 134. Every operation looks at one frame only, but
 * "paste", which looks at another as it was before it: so a drag costs one frame, however long the clip is.
 */
import { Unfit } from "./edit_list.js";
import { CHAIN, KEYPOINTS, NECK, PARTS, SIDES, VISIBLE_SCORE } from "./skeleton.js";

const SHOWN = 1;

/** Return a Map from numbers to {points, scores} of a frame after the first `count` edits; notes gets [number, why]. */
export function poseAt(clip, edits, frame, count = edits.length, notes = null) {
    const people = new Map();
    for (const [number, { points, scores }] of clip.people) {
        people.set(number, {
            points: Float64Array.from(points.subarray(frame * KEYPOINTS * 2, (frame + 1) * KEYPOINTS * 2)),
            scores: Float64Array.from(scores.subarray(frame * KEYPOINTS, (frame + 1) * KEYPOINTS)),
        });
    }
    for (let index = 0; index < count; index++) {
        try {
            applyEdit(clip, people, edits, index, frame);
        } catch (error) {
            if (!(error instanceof Unfit)) {
                throw error;
            }
            notes?.push([edits[index].number, error.message]);
        }
    }
    return people;
}

/** Return the weight 0..1 of an edit in a frame: 1 in its frames, eased beyond them (smoothstep). */
export function weightAt(edit, frame, frames) {
    const stop = lastOf(edit, frames);
    if (frame < edit.start - edit.easeIn || frame >= stop + edit.easeOut) {
        return 0;
    }
    const before = (edit.easeIn + 1 - (edit.start - frame)) / (edit.easeIn + 1);
    const after = (edit.easeOut + 1 - (frame - (stop - 1))) / (edit.easeOut + 1);
    const part = Math.min(1, Math.max(0, Math.min(before, after)));
    return part * part * (3 - 2 * part);
}

function lastOf(edit, frames) {
    return edit.stop === null ? frames : Math.min(edit.stop, frames);
}

function applyEdit(clip, people, edits, index, frame) {
    const edit = edits[index];
    if (edit.start >= clip.frames) {
        throw new Unfit(`it begins at frame ${edit.start}, and these poses have ${clip.frames} frames.`);
    }
    const weight = weightAt(edit, frame, clip.frames);
    const inside = frame >= edit.start && frame < lastOf(edit, clip.frames);
    switch (edit.op) {
        case "move":
            return move(personOf(people, edit.person), edit, weight);
        case "place":
            if (!people.has(edit.person)) {
                const [points, scores] = [new Float64Array(KEYPOINTS * 2), new Float64Array(KEYPOINTS)];
                people.set(edit.person, { points, scores });
            }
            return place(people.get(edit.person), edit, weight, inside);
        case "paste":
            return paste(clip, people, edits, index, weight, inside);
        case "show":
        case "hide":
            return setScores(personOf(people, edit.person), edit, inside);
        case "nobody":
            return inside && people.forEach(person => person.scores.fill(0));
        case "scale":
            return scale(personOf(people, edit.person), edit, weight, clip.width / clip.height);
        case "swap_sides":
            return swapSides(personOf(people, edit.person), inside);
        case "exchange":
            return exchange(people, edit, inside);
        case "split":
            return split(people, edit, inside);
    }
}

function personOf(people, number) {
    if (!people.has(number)) {
        const there = [...people.keys()].sort((a, b) => a - b).join(", ") || "nobody";
        throw new Unfit(`there is no person ${number} in these poses (${there}).`);
    }
    return people.get(number);
}

function move({ points }, edit, weight) {
    for (const [keypoints, [dx, dy]] of edit.values) {
        for (const keypoint of keypoints) {
            points[2 * keypoint] += weight * dx;
            points[2 * keypoint + 1] += weight * dy;
        }
    }
}

function place({ points, scores }, edit, weight, inside) {
    for (const [keypoints, target] of edit.values) {
        const part = scores[keypoints[0]] >= VISIBLE_SCORE || weight === 1 ? weight : 0;
        for (const keypoint of keypoints) {
            approach(points, keypoint, target[0], target[1], part);
            if (inside) {
                scores[keypoint] = SHOWN;
            }
        }
    }
}

function paste(clip, people, edits, index, weight, inside) {
    const edit = edits[index];
    if (edit.source >= clip.frames) {
        throw new Unfit(`it copies frame ${edit.source}, and these poses have ${clip.frames} frames.`);
    }
    const person = personOf(people, edit.person);
    if (!weight) {
        return;
    }
    const source = poseAt(clip, edits, edit.source, index).get(edit.person);
    for (const keypoint of edit.keypoints.length ? edit.keypoints : person.scores.keys()) {
        approach(person.points, keypoint, source.points[2 * keypoint], source.points[2 * keypoint + 1], weight);
        if (inside) {
            person.scores[keypoint] = source.scores[keypoint];
        }
    }
}

function approach(points, keypoint, x, y, part) {
    points[2 * keypoint] += part * (x - points[2 * keypoint]);
    points[2 * keypoint + 1] += part * (y - points[2 * keypoint + 1]);
}

function setScores({ scores }, edit, inside) {
    if (inside) {
        const score = edit.op === "show" ? SHOWN : 0;
        for (const keypoint of edit.keypoints.length ? edit.keypoints : scores.keys()) {
            scores[keypoint] = score;
        }
    }
}

/** Scale a part about the joint it hangs on, the whole body about the neck. Lengths are metric: y in frame heights. */
function scale({ points }, edit, weight, aspect) {
    const factor = Math.exp(weight * Math.log(edit.factor));
    const old = points.map((value, index) => index % 2 ? value : value * aspect);
    const scaled = old.slice();
    if (edit.part === "body") {
        for (let index = 0; index < old.length; index++) {
            const center = old[2 * NECK + index % 2];
            scaled[index] = center + factor * (old[index] - center);
        }
    } else {
        for (const [children, parent, part] of CHAIN) {
            const ratio = PARTS[edit.part].includes(part) ? factor : 1;
            for (const child of children) {
                for (const axis of [0, 1]) {
                    const limb = old[2 * child + axis] - old[2 * parent + axis];
                    scaled[2 * child + axis] = scaled[2 * parent + axis] + ratio * limb;
                }
            }
        }
    }
    points.set(scaled.map((value, index) => index % 2 ? value : value / aspect));
}

function swapSides({ points, scores }, inside) {
    if (!inside) {
        return;
    }
    for (const [right, left] of SIDES) {
        for (const axis of [0, 1]) {
            [points[2 * right + axis], points[2 * left + axis]] = [points[2 * left + axis], points[2 * right + axis]];
        }
        [scores[right], scores[left]] = [scores[left], scores[right]];
    }
}

function exchange(people, edit, inside) {
    const [mine, theirs] = [personOf(people, edit.person), personOf(people, edit.other)];
    if (inside) {
        people.set(edit.person, theirs).set(edit.other, mine);
    }
}

function split(people, edit, inside) {
    if (people.has(edit.other)) {
        throw new Unfit(`there is a person ${edit.other} already.`);
    }
    const person = personOf(people, edit.person);
    const other = { points: person.points.slice(), scores: new Float64Array(KEYPOINTS) };
    if (inside) {
        [person.scores, other.scores] = [other.scores, person.scores];
    }
    people.set(edit.other, other);
}
