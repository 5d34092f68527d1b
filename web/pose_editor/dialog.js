/** The editor over the whole page; Apply hands the edits on, Escape closes it and keeps them for the next time. */
import { Controls } from "./controls.js";
import { button, make } from "./elements.js";
import { Keys } from "./keys.js";
import { MODES } from "./kinematics.js";
import { Panel } from "./panel.js";
import { Player } from "./player.js";
import { Session } from "./session.js";
import { NAMES } from "./skeleton.js";
import { Stage } from "./stage.js";
import { STYLE } from "./style.js";
import { Summary } from "./summary.js";
import { Timeline } from "./timeline.js";
import { jointName, KEY_ROWS, wordsIn } from "./words.js";

// The page must not take what happens here for its own: its shortcuts, its graph's copy and paste.
const KEPT_EVENTS = [
    "keydown", "keyup", "keypress", "copy", "cut", "paste", "wheel", "contextmenu", "pointerdown", "pointerup",
    "pointermove", "dblclick", "dragover", "drop",
];
const OPACITY = 60; // percent, of the background at first

export class Editor {
    /**
     * clip, text, fps: what is edited. background: {url, kind, start} or null. language: of the page. saved: an Autosave.
     * apply(text): takes the edits.
     */
    constructor({ clip, text, fps, background, language, saved, apply }) {
        Object.assign(this, { saved, text, say: wordsIn(language), language, onApply: apply });
        this.session = this.sessionOf(clip, text, fps);
        this.media = background && this.mediaOf(background);
        const video = background?.kind === "video" ? this.media : null;
        this.player = new Player(this.session, video, background?.start ?? 0);
        this.panel = new Panel(this.session, this.say, language);
        this.controls = new Controls(this.session, this.player, this.say);
        this.build();
        this.summary = new Summary(clip, () => this.timeline.draw());
        this.stage = new Stage(this.canvas, this.session, this.media, index => jointName(NAMES[index], language));
        this.timeline = new Timeline(this.lane, this.session, this.summary);
        this.keys = new Keys(this.root, this);
        this.session.onChange = committed => this.changed(committed);
        this.offerSaved();
    }

    sessionOf(clip, text, fps) {
        try {
            return new Session(clip, text, fps);
        } catch (error) {
            this.unread = this.say("unread", error.message);
            return new Session(clip, "", fps);
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
        this.canvas = make("canvas", { tabIndex: 0, ariaLabel: say("title") });
        this.lane = make("canvas");
        this.status = make("footer", { attributes: { role: "status" } });
        this.sheet = make("table", { className: "sheet", hidden: true }, ...KEY_ROWS.map(([keys, key]) =>
            make("tr", {}, make("td", {}, make("kbd", { textContent: keys })), make("td", { textContent: say(key) }))));
        this.offer = make("div", { className: "offer", hidden: true });
        const frame = make("div", { className: "frame" }, ...this.media ? [this.media] : []);
        this.root = make("div", { className: "root", tabIndex: -1 }, this.header(), this.offer,
            make("main", {}, make("div", { className: "stage" }, frame, this.canvas), this.panel.element),
            make("section", { className: "times" }, this.controls.element,
                make("div", { className: "lane" }, this.lane)),
            this.status, this.sheet);
        this.dialog = make("dialog", { ariaLabel: say("title"), on: { close: () => this.closed() } }, this.root);
        this.host = make("div", { className: "steadydancer-pose-editor" });
        this.host.type = "textarea"; // the page's undo leaves an element alone that says so, and keeps its own to itself
        this.host.editor = this;
        KEPT_EVENTS.forEach(name => this.host.addEventListener(name, event => event.stopPropagation()));
        this.host.attachShadow({ mode: "open" }).append(make("style", { textContent: STYLE }), this.dialog);
    }

    header() {
        const { say, session } = this;
        this.modes = MODES.map((mode, index) => button(say(mode), () => { session.mode = mode; session.onChange(false); },
            { title: String(index + 1) }));
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
        return make("header", {}, make("span", { textContent: say("mode") }), ...this.modes, this.undo, this.redo,
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
            session.range, session.easeIn, session.easeOut, session.copied, this.player.playing].join();
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
        const { say, session } = this;
        const nobody = !session.people().size;
        const parts = [
            this.unread, session.rows.length ? say("edits", session.rows.length) : "",
            session.notes.length ? say("skipped", session.notes.length) : "", say(nobody ? "nobody_hint" : "hint"),
        ];
        this.status.textContent = parts.filter(Boolean).join("  ·  ");
    }

    offerSaved() {
        const kept = this.saved.read();
        if (kept === null || kept === this.text) {
            return;
        }
        const { say, session } = this;
        const take = () => {
            this.offer.hidden = true;
            session.history.push(this.sessionOf(session.clip, kept, session.fps).rows);
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
        this.onApply(this.session.text);
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
