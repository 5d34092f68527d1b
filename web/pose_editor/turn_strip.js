/**
 * How far each person turns, frame by frame, as a strip of colors: in the editor's timeline and under the preview of a
 * dance. Python computes the turns; see dwpose/edit/facing_json.py.
 */
import { make } from "./elements.js";

const VERSION = 1;
const LANE = 12; // CSS pixels
const GAP = 3;

/** From which yaw in degrees a color holds, and what it is called; as in dwpose/edit/facing_strip.py. */
export const GRADES = [
    [0, [120, 210, 130], "turnFront"],
    [45, [210, 200, 90], "turn45"],
    [67, [240, 150, 70], "turn67"],
    [90, [230, 80, 80], "turn90"],
];
const UNKNOWN = [70, 70, 78];

/** Return {frames, people} of the JSON text of a run: people is a Map from numbers to the yaw of each frame or null. */
export function readTurns(text) {
    const { version, frames, people } = JSON.parse(text);
    if (version !== VERSION) {
        throw new Error(`These turns are of version ${version}; this page reads version ${VERSION}. Reload it.`);
    }
    return { frames, people: new Map(people.map(({ number, yaw }) => [number, yaw])) };
}

/** Return the color of a yaw in degrees, gray for null. */
export function colorOf(yaw) {
    const [, color] = yaw === null ? [0, UNKNOWN] : GRADES.findLast(([least]) => yaw >= least);
    return `rgb(${color.join()})`;
}

/** Draw one person's turns into a box of a canvas, of several frames in a pixel the furthest. */
export function drawTurns(context, yaw, { left, top, width, height }) {
    const columns = Math.max(1, Math.min(Math.floor(width), yaw.length));
    const colors = Array.from({ length: columns }, (_, column) => {
        let furthest = null;
        const [first, stop] = [column, column + 1].map(edge => Math.floor(edge * yaw.length / columns));
        for (let index = first; index < stop; index++) {
            furthest = yaw[index] === null ? furthest : Math.max(yaw[index], furthest);
        }
        return colorOf(furthest);
    });
    let start = 0;
    for (let column = 1; column <= columns; column++) {
        if (colors[column] !== colors[start]) {
            context.fillStyle = colors[start];
            context.fillRect(left + start * width / columns, top, (column - start) * width / columns, height);
            start = column;
        }
    }
}

/** Return what the colors mean, as an element. */
export function legend(say) {
    const box = "display: inline-block; width: 10px; height: 10px; margin-right: 4px";
    const items = GRADES.map(([, color, key]) =>
        make("span", {}, make("i", { style: `${box}; background: rgb(${color})` }), say(key)));
    const style = "display: flex; flex-wrap: wrap; gap: 2px 12px; font: 11px system-ui, sans-serif; color: #b8b8b8";
    return make("div", { title: say("turns"), style }, ...items);
}

/** A strip with a lane for each person and the frame that is shown, to stand under a player. */
export class TurnStrip {
    /** onSeek(fraction of the whole) is called where the strip is clicked. */
    constructor(say, onSeek) {
        Object.assign(this, { turns: null, lead: 0, at: 0 });
        this.canvas = make("canvas", { title: say("turns"), style: "display: block; width: 100%; cursor: pointer" });
        this.canvas.addEventListener("click", event => onSeek(event.offsetX / this.canvas.clientWidth));
        this.element = make("div", {}, this.canvas, legend(say));
        this.observer = new ResizeObserver(() => this.draw());
        this.observer.observe(this.element);
    }

    /** lead: frames of the player before the first that the turns know. */
    show(turns, lead) {
        Object.assign(this, { turns, lead });
        this.draw();
    }

    /** Return the height in CSS pixels of the lanes. */
    get height() {
        return (LANE + GAP) * Math.max(1, this.turns?.people.size ?? 0) + GAP;
    }

    draw() {
        const { canvas, turns, lead, height } = this;
        const width = this.element.clientWidth;
        if (!turns || !width) {
            return;
        }
        const ratio = globalThis.devicePixelRatio || 1;
        [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
        canvas.style.height = `${height}px`;
        const context = canvas.getContext("2d");
        context.scale(ratio, ratio);
        const start = width * lead / (lead + turns.frames);
        [...turns.people.values()].forEach((yaw, index) => {
            const top = GAP + index * (LANE + GAP);
            drawTurns(context, new Array(lead).fill(null), { left: 0, top, width: start, height: LANE });
            drawTurns(context, yaw, { left: start, top, width: width - start, height: LANE });
        });
        context.fillStyle = "#fff";
        context.fillRect(Math.min(width - 2, this.at * width), 0, 2, height);
    }

    /** Mark the place that is shown, a fraction of the whole. */
    mark(at) {
        this.at = at;
        this.draw();
    }
}
