/** Reads the poses that a node wrote for the page; see dwpose/formats/packed_poses.py. */
import { KEYPOINTS } from "./skeleton.js";

const VERSION = 1;
const LEAST = -1;
const SPAN = 3;

/** Return the clip in an ArrayBuffer: {width, height, frames, people}, as apply_edits.js takes it. */
export function unpackPoses(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    if (header.version !== VERSION) {
        throw new Error(`These poses are of version ${header.version}; this page reads version ${VERSION}. Reload it.`);
    }
    const { width, height, frames, keypoints } = header;
    const size = frames * keypoints.length;
    const scoresStart = 4 + length + header.people.length * size * 4;
    const people = new Map(header.people.map((number, index) => {
        const places = new Uint16Array(buffer, 4 + length + index * size * 4, size * 2);
        const levels = new Uint8Array(buffer, scoresStart + index * size, size);
        return [number, spread(places, levels, keypoints, frames)];
    }));
    return { width, height, frames, people };
}

/** Return {points, scores} with all keypoints; those that did not come have the score 0. */
function spread(places, levels, keypoints, frames) {
    const points = new Float32Array(frames * KEYPOINTS * 2);
    const scores = new Float32Array(frames * KEYPOINTS);
    for (let frame = 0; frame < frames; frame++) {
        for (let index = 0; index < keypoints.length; index++) {
            const [from, to] = [frame * keypoints.length + index, frame * KEYPOINTS + keypoints[index]];
            points[2 * to] = places[2 * from] / 65535 * SPAN + LEAST;
            points[2 * to + 1] = places[2 * from + 1] / 65535 * SPAN + LEAST;
            scores[to] = levels[from] / 255;
        }
    }
    return { points, scores };
}
