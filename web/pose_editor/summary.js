/** What the timeline shows of all frames, computed a few at a time so that the page never waits. */
import { poseAt } from "./apply_edits.js";
import { VISIBLE_SCORE } from "./skeleton.js";

const BODY = 18;
const SLICE = 8; // ms between two breaths of the page

export class Summary {
    /** onDone is called when the numbers of all frames are new. */
    constructor(clip, onDone) {
        this.clip = clip;
        this.onDone = onDone;
        this.people = new Map(); // number: {confidence of each frame, 0 where absent; places of body joints}
        this.run = 0;
    }

    /** Begin anew with these edits; what was being computed is given up. */
    renew(edits) {
        const run = ++this.run;
        const people = new Map();
        const step = start => {
            if (run !== this.run) {
                return;
            }
            const begun = performance.now();
            let frame = start;
            for (; frame < this.clip.frames && performance.now() - begun < SLICE; frame++) {
                for (const [number, pose] of poseAt(this.clip, edits, frame)) {
                    if (!people.has(number)) {
                        const { frames } = this.clip;
                        people.set(number, {
                            confidence: new Float32Array(frames), places: new Float32Array(frames * BODY * 2).fill(NaN),
                        });
                    }
                    note(people.get(number), pose, frame);
                }
            }
            if (frame < this.clip.frames) {
                setTimeout(step, 0, frame);
            } else {
                this.people = people;
                this.onDone();
            }
        };
        step(0);
    }

    stop() {
        this.run++;
    }
}

function note({ confidence, places }, { points, scores }, frame) {
    let sum = 0;
    for (let index = 0; index < BODY; index++) {
        if (scores[index] >= VISIBLE_SCORE) {
            sum += scores[index] / BODY;
            places[(frame * BODY + index) * 2] = points[2 * index];
            places[(frame * BODY + index) * 2 + 1] = points[2 * index + 1];
        }
    }
    confidence[frame] = sum;
}

/** Return the path of a body joint as [x of each frame, y of each frame], NaN where it is hidden. */
export function pathOf({ places }, joint, frames) {
    return [0, 1].map(axis => Float32Array.from({ length: frames }, (_, frame) =>
        places[(frame * BODY + joint) * 2 + axis]));
}
