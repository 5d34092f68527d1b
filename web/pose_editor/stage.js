/** The canvas with the skeletons: what the pointer does there, and the background behind it. */
import { drawLabel, drawPose, jointAt, limbAt } from "./draw.js";
import { cornerAt, drawHandles, isInside, PART, partOf } from "./handles.js";
import { LEFT_HAND, NAMES, RIGHT_HAND, VISIBLE_SCORE } from "./skeleton.js";
import { ALL_SHOWN } from "./session.js";
import { View } from "./view.js";

const JOINT_REACH = 10; // CSS pixels
const LIMB_REACH = 6;
const CLICK = 2; // the most that a click moves
const ZOOM_STEP = 1.0015; // per pixel of the wheel
const OTHERS_ALPHA = 0.55;
const ONION_ALPHA = 0.25;
const MIDDLE_BUTTON = 1;

export class Stage {
    /** canvas fills its parent; background: an element that is laid behind the frame, or null. */
    constructor(canvas, session, background, nameOf = index => NAMES[index]) {
        Object.assign(this, { canvas, session, background, nameOf, onion: false, panning: false, gesture: null });
        this.context = canvas.getContext("2d");
        this.view = new View(session.clip.width, session.clip.height, { width: 1, height: 1 });
        canvas.addEventListener("pointerdown", event => this.down(event));
        canvas.addEventListener("pointermove", event => this.move(event));
        canvas.addEventListener("pointerup", () => this.up());
        canvas.addEventListener("pointercancel", () => this.up());
        canvas.addEventListener("dblclick", event => this.chooseWhole(event));
        canvas.addEventListener("auxclick", event => event.preventDefault());
        canvas.addEventListener("wheel", event => this.wheel(event), { passive: false });
        this.observer = new ResizeObserver(() => this.resize());
        this.observer.observe(canvas.parentElement);
    }

    resize() {
        const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
        const ratio = globalThis.devicePixelRatio || 1;
        this.canvas.width = Math.max(1, width * ratio);
        this.canvas.height = Math.max(1, height * ratio);
        this.view.resize({ width, height });
        this.draw();
    }

    fit() {
        this.view.fit();
        this.draw();
    }

    draw() {
        const { context, view, session } = this;
        const ratio = globalThis.devicePixelRatio || 1;
        context.setTransform(ratio, 0, 0, ratio, 0, 0);
        context.clearRect(0, 0, view.canvas.width, view.canvas.height);
        this.layBackground();
        if (this.onion) {
            for (const frame of [session.frame - 1, session.frame + 1]) {
                if (frame >= 0 && frame < session.clip.frames) {
                    session.people(frame).forEach(pose => drawPose(context, view, pose, { alpha: ONION_ALPHA }));
                }
            }
        }
        for (const [person, pose] of session.people()) {
            const chosen = person === session.person;
            const options = { alpha: chosen ? 1 : OTHERS_ALPHA, lit: chosen ? session.joints : null };
            drawPose(context, view, pose, options);
        }
        if (session.mode === PART) {
            drawHandles(context, session, view);
        }
        if (this.gesture?.kind === "band") {
            const { from, to } = this.gesture;
            context.strokeStyle = "#fff";
            context.lineWidth = 1;
            context.setLineDash([4, 3]);
            context.strokeRect(from[0], from[1], to[0] - from[0], to[1] - from[1]);
            context.setLineDash([]);
        } else if (this.hover) {
            const [person, keypoint] = this.hover;
            const pose = session.people().get(person);
            if (pose) {
                const place = view.toCanvas(pose.points[2 * keypoint], pose.points[2 * keypoint + 1]);
                drawLabel(context, `${person}: ${this.nameOf(keypoint)}`, place);
            }
        }
    }

    layBackground() {
        const { left, top, zoom, width, height } = this.view;
        const frame = this.canvas.previousElementSibling;
        const place = `${left},${top},${zoom}`;
        if (frame && place !== this.laid) {
            this.laid = place;
            Object.assign(frame.style, {
                transform: `translate(${left}px, ${top}px)`, width: `${width * zoom}px`, height: `${height * zoom}px`,
            });
        }
    }

    placeOf(event) {
        return [event.offsetX, event.offsetY];
    }

    down(event) {
        const place = this.placeOf(event);
        this.canvas.setPointerCapture?.(event.pointerId);
        if (event.button === MIDDLE_BUTTON || this.panning) {
            event.preventDefault();
            this.panned = true;
            this.gesture = { kind: "pan", last: place };
            return;
        }
        if (event.button) {
            return;
        }
        const { session } = this;
        if (session.mode === PART) {
            this.grabPart(place);
            return;
        }
        const under = this.under(place);
        if (under) {
            const [person, joints] = under;
            this.chooseJoints(person, joints, event.shiftKey);
            if (!event.shiftKey) {
                session.startDrag();
                const keypoint = joints.at(-1);
                this.gesture = { kind: "drag", keypoint, from: place, moved: false, grip: this.gripOf(keypoint, place) };
            }
        } else {
            this.gesture = { kind: "band", from: place, to: place, added: event.shiftKey };
        }
    }

    /** Return [person, joints] of the joint, else the limb, at a place of the canvas; null without. */
    under(place) {
        const { session, view } = this;
        const hit = jointAt(session.people(), view, place, JOINT_REACH, session.person);
        return hit ? [hit[0], [hit[1]]] : limbAt(session.people(), view, place, LIMB_REACH);
    }

    /** Begin to scale the chosen part by a corner, or to shift the part under the pointer. */
    grabPart(place) {
        const { session, view } = this;
        const corner = cornerAt(session, view, place);
        const under = corner ? null : this.under(place);
        if (under) {
            session.choosePart(under[0], partOf(under[1], session.parts));
        }
        if (corner || under || isInside(session, view, place)) {
            session.startDrag();
            this.gesture = { kind: corner ? "scale" : "shift", from: place, moved: false, ...corner };
        }
    }

    /** Return how far the pointer is from the joint that it drags. */
    gripOf(keypoint, [x, y]) {
        const { points } = this.session.pose;
        const [left, top] = this.view.toCanvas(points[2 * keypoint], points[2 * keypoint + 1]);
        return [x - left, y - top];
    }

    chooseJoints(person, joints, added) {
        const { session } = this;
        if (person !== session.person || !added) {
            const kept = person === session.person && joints.every(index => session.joints.has(index));
            session.choose(person, kept ? session.joints : joints);
            return;
        }
        const chosen = new Set(session.joints);
        const all = joints.every(index => chosen.has(index));
        joints.forEach(index => all ? chosen.delete(index) : chosen.add(index));
        session.choose(person, chosen);
    }

    move(event) {
        const place = this.placeOf(event);
        const { gesture } = this;
        if (!gesture) {
            this.hoverAt(place);
        } else if (gesture.kind === "pan") {
            this.view.pan(place[0] - gesture.last[0], place[1] - gesture.last[1]);
            gesture.last = place;
            this.session.onChange(false);
        } else if (gesture.kind === "band") {
            gesture.to = place;
            this.session.onChange(false);
        } else {
            gesture.moved ||= Math.hypot(place[0] - gesture.from[0], place[1] - gesture.from[1]) > CLICK;
            if (gesture.moved) {
                this.drag(gesture, place);
            }
        }
    }

    drag({ kind, keypoint, grip, from, pivot, arm }, [x, y]) {
        const { session, view } = this;
        if (kind === "scale") {
            session.scalePart(Math.hypot(x - pivot[0], y - pivot[1]) / arm);
        } else if (kind === "shift") {
            const [here, there] = [view.toFrame(...from), view.toFrame(x, y)];
            session.shiftPart(there[0] - here[0], there[1] - here[1]);
        } else {
            session.dragTo(keypoint, view.toFrame(x - grip[0], y - grip[1]));
        }
    }

    up() {
        const { gesture, session } = this;
        this.gesture = null;
        if (gesture?.kind === "band") {
            this.chooseBand(gesture);
        } else if (gesture?.moved) {
            session.endDrag();
        }
    }

    /** Choose the joints inside the rectangle, of the chosen person if any of theirs are, else of the next who has. */
    chooseBand({ from, to, added }) {
        const { session, view } = this;
        const people = [...session.people()].sort(([a], [b]) => (b === session.person) - (a === session.person));
        for (const [person, { points, scores }] of people) {
            const inside = ALL_SHOWN.filter(index => {
                const place = view.toCanvas(points[2 * index], points[2 * index + 1]);
                return scores[index] >= VISIBLE_SCORE
                    && place.every((value, axis) => (value - from[axis]) * (value - to[axis]) <= 0);
            });
            if (inside.length) {
                const kept = added && person === session.person ? session.joints : [];
                session.choose(person, [...kept, ...inside]);
                return;
            }
        }
        session.choose(session.person, added ? session.joints : []);
    }

    /** Choose the whole hand, or the whole person, under the pointer. */
    chooseWhole(event) {
        const { session } = this;
        const [person, [keypoint]] = this.under(this.placeOf(event)) ?? [null, []];
        if (keypoint !== undefined && session.mode !== PART) {
            const hand = [LEFT_HAND, RIGHT_HAND].find(points => points.includes(keypoint));
            session.choose(person, hand ?? ALL_SHOWN.filter(index => session.people().get(person).scores[index]
                >= VISIBLE_SCORE));
        }
    }

    hoverAt(place) {
        const hover = jointAt(this.session.people(), this.view, place, JOINT_REACH, this.session.person);
        if (String(hover) !== String(this.hover)) {
            this.hover = hover;
            this.session.onChange(false);
        }
        this.canvas.style.cursor = this.cursorAt(place);
    }

    cursorAt(place) {
        const { session, view } = this;
        if (session.mode !== PART) {
            return "";
        }
        return cornerAt(session, view, place) ? "nwse-resize" : isInside(session, view, place) ? "move" : "";
    }

    wheel(event) {
        event.preventDefault();
        this.view.zoomAt(this.placeOf(event), ZOOM_STEP ** -event.deltaY);
        this.session.onChange(false);
    }

    close() {
        this.observer.disconnect();
    }
}
