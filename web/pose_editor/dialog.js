/** The editor over the whole page; Apply hands the edits on, Escape closes it and keeps them for the next time. */
import { Controls } from "./controls.js";
import { button, make } from "./elements.js";
import { PART } from "./handles.js";
import { Keys } from "./keys.js";
import { Panel } from "./panel.js";
import { Player } from "./player.js";
import { MODES, Session } from "./session.js";
import { NAMES } from "./skeleton.js";
import { Stage } from "./stage.js";
import { STYLE } from "./style.js";
import { Summary } from "./summary.js";
import { Timeline } from "./timeline.js";
import { legend } from "./turn_strip.js";
import { EDIT_KEYS, jointName, KEY_ROWS, wordsIn } from "./words.js";

// The page must not take what happens here for its own: its shortcuts, its graph's copy and paste.
const KEPT_EVENTS = [
    "keydown", "keyup", "keypress", "copy", "cut", "paste", "wheel", "contextmenu", "pointerdown", "pointerup",
    "pointermove", "dblclick", "dragover", "drop",
];
const MOST_NAMED = 8; // edits that do not fit
const OPACITY = 60; // percent, of the background at first

export class Editor {
    /**
     * clip, text, fps: what is edited. background: {url, kind, start} or null. turns: as turn_strip.js reads them, or
     * null. language: of the page. saved: an Autosave. apply(text): takes the edits.
     */
    constructor(options) {
        const { clip, text, background, turns, language, saved } = options;
        Object.assign(this, { options, saved, text, say: wordsIn(language), language });
        this.session = this.sessionOf(text);
        this.opened = this.session.text;
        this.media = background && this.mediaOf(background);
        const video = background?.kind === "video" ? this.media : null;
        this.player = new Player(this.session, video, background?.start ?? 0);
        this.panel = this.newPanel();
        this.controls = new Controls(this.session, this.player, this.say, this.editsPoses);
        this.build();
        this.summary = new Summary(clip, () => this.timeline.draw());
        this.stage = new Stage(this.canvas, this.session, this.media, index => jointName(NAMES[index], language));
        this.timeline = new Timeline(this.lane, this.session, this.summary, turns);
        this.keys = new Keys(this.root, this);
        this.session.onChange = committed => this.changed(committed);
        this.offerSaved();
    }

    get title() {
        return "title";
    }

    /** Return whether single joints can be edited, not the corrections of an alignment alone. */
    get editsPoses() {
        return true;
    }

    newSession(text) {
        return new Session(this.options.clip, text, this.options.fps);
    }

    newPanel() {
        return new Panel(this.session, this.say, this.language);
    }

    /** Return the session of a text; of an empty one where it cannot be read, which the status says. */
    sessionOf(text) {
        try {
            return this.newSession(text);
        } catch (error) {
            this.unread = this.say("unread", error.message);
            return this.newSession("");
        }
    }

    mediaOf({ url, kind }) {
        if (kind === "photo") {
            return make("img", { src: url, alt: "" });
        }
        return make("video", {
            src: url, preload: "auto", playsInline: true,
            on: { error: () => { this.status.textContent = this.say("noVideo"); } },
        });
    }

    build() {
        const { say } = this;
        this.canvas = make("canvas", { tabIndex: 0, ariaLabel: say(this.title) });
        this.lane = make("canvas");
        this.status = make("footer", { attributes: { role: "status" } });
        const rows = KEY_ROWS.filter(([, key]) => this.editsPoses || !EDIT_KEYS.includes(key));
        this.sheet = make("table", { className: "sheet", hidden: true }, ...rows.map(([keys, key]) =>
            make("tr", {}, make("td", {}, make("kbd", { textContent: keys })), make("td", { textContent: say(key) }))));
        this.offer = make("div", { className: "offer", hidden: true });
        const frame = make("div", { className: "frame" }, ...this.media ? [this.media] : []);
        this.root = make("div", { className: "root", tabIndex: -1 }, this.header(), this.offer,
            make("main", {}, make("div", { className: "stage" }, frame, this.canvas), this.panel.element),
            make("section", { className: "times" },
                make("div", { className: "bar" }, this.controls.element, ...this.options.turns ? [legend(say)] : []),
                make("div", { className: "lane" }, this.lane)),
            this.status, this.sheet);
        this.dialog = make("dialog", { role: "group", on: { close: () => this.closed() } }, this.root);
        // The page's undo stands still for a modal dialog that it sees and, up to 1.47, for an element of this type.
        this.host = make("div", {
            className: "steadydancer-pose-editor", role: "dialog", ariaLabel: say(this.title), ariaModal: "true",
            type: "textarea",
        });
        this.host.editor = this;
        KEPT_EVENTS.forEach(name => this.host.addEventListener(name, event => event.stopPropagation()));
        this.host.attachShadow({ mode: "open" }).append(make("style", { textContent: STYLE }), this.dialog);
    }

    header() {
        const { say, session } = this;
        const modes = this.editsPoses ? MODES : [];
        const choose = mode => { session.mode = mode; session.onChange(false); };
        this.modes = modes.map((mode, index) => button(say(mode), () => choose(mode), { title: String(index + 1) }));
        this.undo = button(say("undo"), () => session.history.undo(), { title: "Ctrl + Z" });
        this.redo = button(say("redo"), () => session.history.redo(), { title: "Ctrl + Shift + Z" });
        this.onion = button(say("onion"), () => this.toggleOnion(), { title: "G" });
        const opacity = make("input", {
            type: "range", min: 0, max: 100, value: OPACITY, ariaLabel: say("opacity"), disabled: !this.media,
            on: { input: () => { this.media.style.opacity = opacity.value / 100; } },
        });
        if (this.media) {
            this.media.style.opacity = OPACITY / 100;
        }
        const dragging = modes.length ? [make("span", { textContent: say("mode") })] : [];
        return make("header", {}, ...dragging, ...this.modes, this.undo, this.redo,
            button(say("fit"), () => this.stage.fit(), { title: "F" }), this.onion,
            make("label", {}, `${say("opacity")} `, opacity), button(say("keys"), () => this.toggleSheet(), { title: "?" }),
            make("span", { className: "space" }), button(say("close"), () => this.close(), { title: "Escape" }),
            button(say("apply"), () => this.apply(), { title: "Ctrl + Enter", className: "main" }));
    }

    open() {
        document.body.append(this.host);
        this.dialog.showModal();
        this.canvas.focus();
        this.changed(false);
        this.summary.renew(this.session.edits);
    }

    /** Draw soon; of a drag in progress only the canvas. */
    changed(committed) {
        if (committed) {
            this.saved.write(this.session.text);
            this.summary.renew(this.session.edits);
        }
        this.waiting ??= requestAnimationFrame(() => {
            this.waiting = null;
            this.draw();
        });
    }

    draw() {
        const { session } = this;
        this.player.follow();
        this.stage.draw();
        const key = [session.frame, session.person, session.version, [...session.joints], session.mode, session.scope,
            session.part, session.range, session.easeIn, session.easeOut, session.copied, this.player.playing].join();
        if (!session.pending && key !== this.drawn) {
            this.drawn = key;
            this.timeline.draw();
            this.panel.refresh();
            this.controls.refresh();
            this.undo.disabled = !session.history.canUndo;
            this.redo.disabled = !session.history.canRedo;
            this.modes.forEach((one, index) => one.setAttribute("aria-pressed", MODES[index] === session.mode));
            this.onion.setAttribute("aria-pressed", this.stage.onion);
            this.tell();
        } else if (session.pending && !this.editsPoses) {
            this.panel.refresh();
        }
        this.keepFocus();
    }

    /** Without it a button that went away would leave the keys to the page below. */
    keepFocus() {
        const { activeElement } = this.host.shadowRoot;
        if (!activeElement || activeElement.disabled || !activeElement.checkVisibility()) {
            this.canvas.focus();
        }
    }

    tell() {
        this.status.textContent = [this.unread, ...this.remarks()].filter(Boolean).join("  ·  ");
    }

    remarks() {
        const { say, session } = this;
        const { rows, notes, misfits } = session;
        return [
            rows.length ? say("edits", rows.length) : "", notes.length ? say("skipped", notes.length) : "",
            misfits.length ? say("misfits", misfits.map(([number]) => number).slice(0, MOST_NAMED).join(", ")) : "",
            say(session.mode === PART ? "partHint" : session.people().size ? "hint" : "nobody_hint"),
        ];
    }

    offerSaved() {
        const kept = this.saved.read();
        if (kept === null || kept === this.text || kept === this.opened) {
            return;
        }
        const { say, session } = this;
        const take = () => {
            this.offer.hidden = true;
            session.history.push(this.sessionOf(kept).history.value);
        };
        const discard = () => {
            this.offer.hidden = true;
            this.saved.clear();
            this.changed(false);
        };
        this.offer.append(say("restored"), button(say("take"), take), button(say("discard"), discard));
        this.offer.hidden = false;
    }

    toggleSheet = () => {
        this.sheet.hidden = !this.sheet.hidden;
    };

    /** Close the sheet of keys, else the editor. */
    escape() {
        if (this.sheet.hidden) {
            this.close();
        } else {
            this.toggleSheet();
        }
    }

    toggleOnion = () => {
        this.stage.onion = !this.stage.onion;
        this.drawn = null;
        this.changed(false);
    };

    apply = () => {
        this.saved.clear();
        if (this.session.text !== this.opened) {
            this.options.apply(this.session.text);
        }
        this.close();
    };

    close() {
        this.dialog.close();
    }

    closed() {
        this.player.pause();
        cancelAnimationFrame(this.waiting);
        this.summary.stop();
        this.stage.close();
        this.timeline.close();
        this.session.onChange = () => {};
        this.host.remove();
    }
}
