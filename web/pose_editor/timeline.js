/** The timeline: a row for each person with presence, confidence and turns, marks of edits, the curves of one joint. */
import { pathOf } from "./summary.js";
import { drawTurns } from "./turn_strip.js";

const RULER = 20; // CSS pixels
const ROW = 20; // of presence and confidence
const TURNS = 7; // below it
const CURVES = 56;
const MARK = 4;
const BODY = 18;
const TICKS = [1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500];
const LEAST_TICK = 48;
const AXES = ["#ff7a7a", "#7ab8ff"]; // x, y

export class Timeline {
    constructor(canvas, session, summary, turns) {
        Object.assign(this, { canvas, session, summary, turns });
        this.context = canvas.getContext("2d");
        canvas.addEventListener("pointerdown", event => this.down(event));
        canvas.addEventListener("pointermove", event => this.move(event));
        canvas.addEventListener("pointerup", () => { this.scrub = null; });
        canvas.addEventListener("pointercancel", () => { this.scrub = null; });
        this.observer = new ResizeObserver(() => this.draw());
        this.observer.observe(canvas.parentElement);
    }

    get people() {
        return [...this.summary.people.keys()].sort((a, b) => a - b);
    }

    /** Return the one body joint whose curves are shown, else null. */
    get joint() {
        const [joint] = this.session.joints;
        return this.session.joints.size === 1 && joint < BODY ? joint : null;
    }

    get row() {
        return this.turns ? ROW + TURNS : ROW;
    }

    get height() {
        return RULER + this.row * Math.max(1, this.people.length) + (this.joint === null ? 0 : CURVES);
    }

    xOf(frame) {
        return frame / this.session.clip.frames * this.width;
    }

    frameAt(x) {
        return Math.max(0, Math.min(this.session.clip.frames - 1, Math.floor(x / this.width * this.session.clip.frames)));
    }

    draw() {
        const { canvas, context, session, height } = this;
        const ratio = globalThis.devicePixelRatio || 1;
        this.width = canvas.parentElement.clientWidth;
        const sizes = [Math.max(1, Math.round(this.width * ratio)), Math.round(height * ratio)];
        if (canvas.width !== sizes[0] || canvas.height !== sizes[1]) {
            [canvas.width, canvas.height] = sizes;
            canvas.style.height = `${height}px`;
        }
        context.setTransform(ratio, 0, 0, ratio, 0, 0);
        context.clearRect(0, 0, this.width, height);
        if (session.scope !== "frame") {
            const [from, to] = session.scope === "all" ? [0, session.clip.frames - 1] : session.range;
            context.fillStyle = "rgb(110 160 255 / 22%)";
            context.fillRect(this.xOf(from), 0, this.xOf(to + 1) - this.xOf(from), height);
        }
        this.drawRuler();
        this.people.forEach((person, index) => this.drawRow(person, RULER + index * this.row));
        if (this.joint !== null) {
            this.drawCurves(height - CURVES);
        }
        context.fillStyle = "#fff";
        context.fillRect(this.xOf(session.frame + 0.5) - 1, 0, 2, height);
    }

    drawRuler() {
        const { context, session: { clip: { frames } } } = this;
        const step = TICKS.find(tick => this.xOf(tick) >= LEAST_TICK) ?? TICKS.at(-1);
        context.font = "11px system-ui, sans-serif";
        context.fillStyle = "#aaa";
        for (let frame = 0; frame < frames; frame += step) {
            context.fillRect(this.xOf(frame), RULER - 6, 1, 6);
            context.fillText(String(frame), this.xOf(frame) + 3, RULER - 7);
        }
    }

    drawRow(person, top) {
        const { context, session } = this;
        const { confidence } = this.summary.people.get(person);
        const chosen = person === session.person;
        const columns = Math.min(this.width, confidence.length);
        const width = this.width / columns;
        for (let column = 0; column < columns; column++) {
            const value = confidence[Math.floor(column * confidence.length / columns)];
            if (value) {
                context.fillStyle = `hsl(${Math.round(120 * value)} 65% ${chosen ? 45 : 28}%)`;
                context.fillRect(column * width, top + 3, Math.ceil(width), ROW - 6);
            }
        }
        const yaw = this.turns?.people.get(person);
        if (yaw) {
            drawTurns(context, yaw, { left: 0, top: top + ROW - 2, width: this.width, height: TURNS });
        }
        context.fillStyle = "#fff";
        for (const edit of session.edits) {
            if (edit.op === "nobody" || edit.person === person) {
                const x = this.xOf(Math.min(edit.start, confidence.length - 1) + 0.5);
                context.fillRect(x - MARK / 2, top + ROW - MARK - 1, MARK, MARK);
            }
        }
        context.font = "11px system-ui, sans-serif";
        context.fillText(String(person), 4, top + 14);
    }

    drawCurves(top) {
        const { context, session } = this;
        const person = this.summary.people.get(session.person);
        if (!person) {
            return;
        }
        pathOf(person, this.joint, session.clip.frames).forEach((path, axis) => {
            const known = path.filter(value => !Number.isNaN(value));
            const low = known.reduce((a, b) => Math.min(a, b), Infinity);
            const span = known.reduce((a, b) => Math.max(a, b), -Infinity) - low || 1;
            context.strokeStyle = AXES[axis];
            context.lineWidth = 1;
            context.beginPath();
            let drawing = false;
            path.forEach((value, frame) => {
                if (Number.isNaN(value)) {
                    drawing = false;
                    return;
                }
                const y = top + 4 + (value - low) / span * (CURVES - 8);
                context[drawing ? "lineTo" : "moveTo"](this.xOf(frame + 0.5), y);
                drawing = true;
            });
            context.stroke();
            context.fillStyle = AXES[axis];
            context.fillText("xy"[axis], 4 + 12 * axis, top + 12);
        });
    }

    down(event) {
        this.canvas.setPointerCapture?.(event.pointerId);
        const frame = this.frameAt(event.offsetX);
        this.scrub = { range: event.shiftKey, from: frame };
        const person = this.people[Math.floor((event.offsetY - RULER) / this.row)];
        if (person !== undefined && event.offsetY >= RULER && person !== this.session.person) {
            this.session.choose(person);
        }
        this.move(event);
    }

    move(event) {
        if (!this.scrub) {
            return;
        }
        const frame = this.frameAt(event.offsetX);
        if (this.scrub.range) {
            this.session.setRange(this.scrub.from, frame);
        } else if (frame !== this.session.frame) {
            this.session.goTo(frame);
        }
    }

    close() {
        this.observer.disconnect();
    }
}
