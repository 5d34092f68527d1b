/** What each key does; see KEY_ROWS of words.js for the sheet. */
import { PART } from "./handles.js";
import { ALL_SHOWN, MODES } from "./session.js";

const FIELDS = ["INPUT", "SELECT"];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const BODY = 18;
const FAR = 10; // pixels of a nudge with Shift
const SCALE_STEP = 0.02;

export class Keys {
    /** editor: {session, stage, player, apply, escape, toggleSheet, toggleOnion, editsPoses}. */
    constructor(root, editor) {
        this.editor = editor;
        root.addEventListener("keydown", event => this.down(event));
        root.addEventListener("keyup", event => this.up(event));
    }

    down(event) {
        const inField = FIELDS.includes(event.target.tagName) && event.target.type !== "checkbox";
        if (event.key === "Escape") {
            event.preventDefault(); // a dialog that once kept open would leave the next Escape to the browser
            this.editor.escape();
            return;
        }
        const withControl = event.ctrlKey || event.metaKey;
        const act = withControl ? this.withControl(event, inField) : !inField && this.plain(event);
        if (act) {
            event.preventDefault();
            act();
        }
    }

    /** Return what a key with Ctrl or Cmd does, undefined if nothing of ours. */
    withControl(event, inField) {
        const { session, apply } = this.editor;
        const { history } = session;
        const acts = {
            enter: apply,
            z: event.shiftKey ? () => history.redo() : () => history.undo(),
            y: () => history.redo(),
            ...inField || !this.editor.editsPoses ? {} : {
                c: () => session.copy(),
                v: () => session.pose && session.paste(),
                a: () => session.choose(session.person, ALL_SHOWN.filter(index => session.isVisible(index))),
            },
        };
        return acts[event.key.toLowerCase()];
    }

    /** Return what a key without Ctrl does, undefined if nothing. */
    plain(event) {
        const { session, stage, toggleSheet, toggleOnion, editsPoses } = this.editor;
        if (event.altKey || event.key in ARROWS) {
            return this.arrow(event);
        }
        const last = session.clip.frames - 1;
        const acts = {
            " ": () => { stage.panning = true; if (!event.repeat) { stage.panned = false; } },
            home: () => session.goTo(0),
            end: () => session.goTo(last),
            n: () => this.nextPerson(),
            f: () => stage.fit(),
            g: toggleOnion,
            "?": toggleSheet,
            ...session.mode === PART ? this.ofParts() : {},
            ...editsPoses ? this.ofJoints() : {},
        };
        const key = event.key.toLowerCase();
        return key === " " && event.target.tagName === "BUTTON" ? undefined : acts[key];
    }

    ofParts() {
        const { session } = this.editor;
        const scale = factor => session.pose && session.scaleBy(factor);
        return {
            p: () => session.choosePart(session.person, next(session.parts, session.part)),
            "+": () => scale(1 + SCALE_STEP),
            "=": () => scale(1 + SCALE_STEP), // without Shift
            "-": () => scale(1 - SCALE_STEP),
        };
    }

    ofJoints() {
        const { session } = this.editor;
        return {
            ",": () => this.nextJoint(-1),
            ".": () => this.nextJoint(1),
            i: () => session.setRange(session.frame, Math.max(session.frame, session.range[1])),
            o: () => session.setRange(Math.min(session.frame, session.range[0]), session.frame),
            s: () => session.pose && session.swapSides(),
            delete: () => session.joints.size && session.hide(),
            backspace: () => session.joints.size && session.hide(),
            ...Object.fromEntries(MODES.map((mode, index) => [index + 1, () => {
                session.mode = mode;
                session.onChange(false);
            }])),
        };
    }

    arrow(event) {
        const { session } = this.editor;
        const [dx, dy] = ARROWS[event.key] ?? [0, 0];
        if (event.altKey) {
            const far = event.shiftKey ? FAR : 1;
            return dx || dy ? () => session.pose && session.nudge(dx * far, dy * far) : undefined;
        }
        return dx ? () => session.goTo(session.frame + dx) : undefined;
    }

    up(event) {
        const { stage, player } = this.editor;
        if (event.key === " " && stage.panning) {
            stage.panning = false;
            if (!stage.panned) {
                player.toggle();
            }
        }
    }

    nextPerson() {
        const { session } = this.editor;
        const people = [...session.people().keys()].sort((a, b) => a - b);
        if (people.length) {
            session.choose(next(people, session.person));
        }
    }

    nextJoint(step) {
        const { session } = this.editor;
        const seen = ALL_SHOWN.filter(index => index < BODY && session.isVisible(index));
        if (seen.length) {
            const [chosen] = session.joints;
            const at = seen.indexOf(chosen);
            const next = at < 0 ? (step > 0 ? 0 : seen.length - 1) : (at + step + seen.length) % seen.length;
            session.choose(session.person, [seen[next]]);
        }
    }
}

/** Return the value after one of a list, the first after the last. */
function next(values, value) {
    return values[(values.indexOf(value) + 1) % values.length];
}
