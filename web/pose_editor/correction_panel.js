/** The column beside the canvas in which the corrections of an alignment are chosen, typed and taken back. */
import { fitting, LIMITS } from "./corrections.js";
import { button, choice, make, numberField, setChoices } from "./elements.js";

const STEPS = { scale: 0.01, x: 0.005, y: 0.005 };

export class CorrectionPanel {
    constructor(session, say) {
        Object.assign(this, { session, say });
        this.person = choice([], value => session.choose(Number(value)), say("person"));
        this.groups = session.parts.map(part => this.group(part));
        this.reset = button(say("reset"), () => session.reset());
        this.element = make("aside", {},
            make("div", { className: "row" }, make("span", { textContent: say("person") }), this.person),
            ...this.groups.map(({ element }) => element), this.reset);
    }

    group(part) {
        const { session, say } = this;
        const chooser = button(say(part), () => session.choosePart(session.person, part));
        const fields = Object.entries(LIMITS).map(([key, [, min, max]]) => {
            const name = `${part}_${key}`;
            const field = numberField(name, { min, max, step: STEPS[key] }, value => {
                session.part = part;
                session.put({ [name]: fitting(name, value) });
            });
            if (name in session.locked) {
                field.disabled = true;
                field.title = say("linked");
            }
            return { name, field, key };
        });
        const rows = fields.map(({ field, key }) => make("label", {}, `${say(`${key}Value`)} `, field));
        return { part, chooser, fields, element: make("div", { className: "group" }, chooser, ...rows) };
    }

    refresh() {
        const { session } = this;
        const people = [...session.clip.people.keys()].sort((a, b) => a - b);
        setChoices(this.person, people.map(number => [number, number]));
        this.person.value = session.person;
        for (const { part, chooser, fields } of this.groups) {
            chooser.setAttribute("aria-pressed", part === session.part);
            for (const { name, field } of fields.filter(({ field }) => !field.matches(":focus"))) {
                field.value = session.values[name];
            }
        }
        this.reset.disabled = session.names.every(name => name in session.locked
            || session.values[name] === LIMITS[name.split("_")[1]][0]);
    }
}
