/** The row above the timeline: the frame, and the frames that an edit changes. */
import { button, choice, make, numberField } from "./elements.js";
import { SCOPES } from "./session.js";

const MAX_EASE = 1000;

export class Controls {
    /** withEdits: whether there is a choice of the frames that an edit changes. */
    constructor(session, player, say, withEdits) {
        Object.assign(this, { session, player, say });
        const last = session.clip.frames - 1;
        const set = change => { Object.assign(session, change); session.onChange(false); };
        this.play = button(say("play"), () => player.toggle());
        this.frame = numberField(say("frame"), { min: 0, max: last }, value => session.goTo(value));
        this.scope = choice(SCOPES.map(scope => [scope, say(scope === "frame" ? "one" : scope)]),
            scope => set({ scope }), say("scope"));
        this.from = numberField(say("from"), { min: 0, max: last }, value => session.setRange(value, session.range[1]));
        this.to = numberField(say("to"), { min: 0, max: last }, value => session.setRange(session.range[0], value));
        this.easeIn = numberField(say("easeIn"), { min: 0, max: MAX_EASE }, easeIn => set({ easeIn }));
        this.easeOut = numberField(say("easeOut"), { min: 0, max: MAX_EASE }, easeOut => set({ easeOut }));
        const named = (key, field) => make("label", {}, `${say(key)} `, field);
        const editing = ["scope", "from", "to", "easeIn", "easeOut"].map(key => named(key, this[key]));
        this.element = make("div", { className: "controls" }, this.play, named("frame", this.frame),
            make("span", { textContent: `/ ${last}` }), ...withEdits ? editing : []);
    }

    refresh() {
        const { session } = this;
        this.play.textContent = this.say(this.player.playing ? "pause" : "play");
        const [from, to] = session.range ?? [0, 0];
        const values = [
            [this.frame, session.frame], [this.from, from], [this.to, to], [this.easeIn, session.easeIn],
            [this.easeOut, session.easeOut],
        ];
        // Not where a number is being typed: it counts when the field is left, and would be lost.
        values.filter(([field]) => !field.matches(":focus")).forEach(([field, value]) => { field.value = value; });
        this.scope.value = session.scope;
        this.from.disabled = this.to.disabled = session.scope !== "range";
        this.easeIn.disabled = this.easeOut.disabled = session.scope === "all";
    }
}
