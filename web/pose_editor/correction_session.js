/** The corrections of an alignment while they are dragged, typed and undone; no page in it. */
import { anchorNecks, correctedPose, correctionOf, fitting, LIMITS } from "./corrections.js";
import { PART, pivotOf } from "./handles.js";
import { History } from "./history.js";
import { KEYPOINTS, PARTS } from "./skeleton.js";
import { Viewing } from "./viewing.js";

export class CorrectionSession extends Viewing {
    /**
     * clip: the aligned poses before the corrections. setup: {anchors, names, locked}: the frame in which each person
     * meets the photo, the node's inputs, and the values of those that a link sets. text: the others' values as JSON.
     */
    constructor(clip, { anchors, names, locked }, text, fps, onChange) {
        super(clip, fps, onChange);
        Object.assign(this, { names, locked, edits: [], mode: PART, scope: "frame" });
        this.necks = anchorNecks(clip, anchors);
        this.parts = Object.keys(PARTS).filter(part => names.includes(`${part}_scale`));
        this.frame = anchors[this.person] ?? 0;
        this.history = new History(this.read(text), () => this.renew());
    }

    read(text) {
        const found = { ...text ? JSON.parse(text) : {}, ...this.locked };
        return Object.fromEntries(this.names.map(name => {
            const [unchanged] = LIMITS[name.split("_")[1]];
            return [name, Number.isFinite(found[name]) ? found[name] : unchanged];
        }));
    }

    get values() {
        return this.pending ?? this.history.value;
    }

    get text() {
        return JSON.stringify(this.history.value);
    }

    renew() {
        this.pending = null;
        this.version++;
        this.onChange(true);
    }

    peopleOf(frame) {
        return new Map([...this.clip.people].map(([number, { points, scores }]) => {
            const pose = {
                points: Float64Array.from(points.subarray(frame * KEYPOINTS * 2, (frame + 1) * KEYPOINTS * 2)),
                scores: scores.subarray(frame * KEYPOINTS, (frame + 1) * KEYPOINTS),
            };
            return [number, correctedPose(pose, this.necks.get(number), this.values, this.aspect)];
        }));
    }

    /** Return the place in the frame about which the part scales. */
    get pivot() {
        const body = correctionOf(this.values, "body");
        if (this.part === "body") {
            const [x, y] = this.necks.get(this.person);
            return [x + body.x / this.aspect, y + body.y];
        }
        const [x, y] = pivotOf(this.pose, this.part);
        if (this.part !== "head") {
            return [x, y]; // arms and legs carry the joints that they hang on along
        }
        const head = correctionOf(this.values, "head");
        return [x + body.scale * head.x / this.aspect, y + body.scale * head.y];
    }

    startDrag() {
        this.base = this.values;
    }

    /** Shift the part from where the drag began, by fractions of the frame. */
    shiftPart(dx, dy) {
        const scale = this.part === "body" ? 1 : correctionOf(this.base, "body").scale;
        const { x, y } = correctionOf(this.base, this.part);
        this.show({ x: x + dx * this.aspect / scale, y: y + dy / scale });
    }

    scalePart(factor) {
        this.show({ scale: correctionOf(this.base, this.part).scale * factor });
    }

    /** Show the chosen part with these of scale, x and y, which are not yet applied. */
    show(changes) {
        const named = Object.entries(changes).map(([key, value]) => [`${this.part}_${key}`, value]);
        const free = named.filter(([name]) => !(name in this.locked));
        const fitted = free.map(([name, value]) => [name, fitting(name, value)]);
        this.pending = { ...this.base, ...Object.fromEntries(fitted) };
        this.version++;
        this.onChange(false);
    }

    endDrag() {
        const { pending } = this;
        this.pending = null;
        this.put(pending ?? {});
    }

    /** Shift the part by pixels of the frame. */
    nudge(dx, dy) {
        this.startDrag();
        this.shiftPart(dx / this.clip.width, dy / this.clip.height);
        this.endDrag();
    }

    scaleBy(factor) {
        this.startDrag();
        this.scalePart(factor);
        this.endDrag();
    }

    /** Set inputs by name. */
    put(values) {
        const next = { ...this.history.value, ...values };
        if (this.names.some(name => next[name] !== this.history.value[name])) {
            this.history.push(next);
        } else {
            this.version++;
            this.onChange(false);
        }
    }

    /** Set every input that no link sets to no correction. */
    reset() {
        const free = this.names.filter(name => !(name in this.locked));
        this.put(Object.fromEntries(free.map(name => [name, LIMITS[name.split("_")[1]][0]])));
    }
}
