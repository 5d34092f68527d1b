/** The column beside the canvas: the person, the joints, and what can be done with them. */
import { button, choice, make, numberField, setChoices } from "./elements.js";
import { JOINT_ROWS } from "./session.js";
import { PARTS } from "./skeleton.js";
import { jointName } from "./words.js";

const SCALES = { min: 0.1, max: 10, step: 0.05 };

export class Panel {
    constructor(session, say, language) {
        Object.assign(this, { session, say });
        this.person = choice([], value => session.choose(Number(value)), say("person"));
        this.other = choice([], () => {}, say("other"));
        this.part = choice(Object.keys(PARTS).map(part => [part, say(part)]),
            part => session.choosePart(session.person, part), say("scale"));
        this.factor = numberField(say("scale"), SCALES, () => {});
        this.factor.value = 1.1;
        this.joints = JOINT_ROWS.map(([name, keypoints]) => this.jointRow(jointName(name, language), keypoints));
        const tool = (key, run, ready) => ({ element: button(say(key), run), ready });
        this.tools = [
            tool("addPerson", () => session.addPerson(), () => true),
            tool("deletePerson", () => session.deletePerson(), () => session.pose),
            tool("swapSides", () => session.swapSides(), () => session.pose),
            tool("split", () => session.split(), () => session.pose),
            tool("nobody", () => session.nobody(), () => session.pose),
            tool("hide", () => session.hide(), () => session.joints.size),
            tool("copy", () => { session.copy(); session.onChange(false); }, () => session.pose),
            tool("paste", () => session.paste(), () => session.pose && session.copied !== null),
        ];
        this.exchange = button(say("exchange"), () => session.exchange(Number(this.other.value)));
        this.scaling = button(say("scale"), () => session.scaleBy(Number(this.factor.value)));
        this.element = make("aside", {},
            make("div", { className: "row" }, make("span", { textContent: say("person") }), this.person),
            make("div", { className: "joints", ariaLabel: say("joints"), attributes: { role: "group" } },
                ...this.joints.map(({ row }) => row)),
            make("div", { className: "tools" }, ...this.tools.map(({ element }) => element)),
            make("div", { className: "row" }, this.exchange, this.other),
            make("div", { className: "row" }, this.part, this.factor, this.scaling));
    }

    jointRow(name, keypoints) {
        const { session } = this;
        const box = make("input", { type: "checkbox", ariaLabel: name });
        box.addEventListener("change", () => box.checked ? session.show(keypoints) : session.hide(keypoints));
        const text = make("span", {
            textContent: name,
            on: {
                click: event => {
                    event.preventDefault();
                    session.choose(session.person, event.shiftKey ? [...session.joints, ...keypoints] : keypoints);
                },
            },
        });
        return { row: make("label", {}, box, text), box, keypoints };
    }

    refresh() {
        const { session } = this;
        const people = [...session.people().keys()].sort((a, b) => a - b);
        setChoices(this.person, people.length ? people.map(number => [number, number])
            : [["", this.say("nobodyHere")]]);
        this.person.value = people.length ? session.person : "";
        const others = people.filter(number => number !== session.person);
        setChoices(this.other, others.map(number => [number, number]));
        this.person.disabled = !people.length;
        this.exchange.disabled = this.other.disabled = !others.length;
        this.scaling.disabled = !session.pose;
        this.part.value = session.part;
        for (const { row, box, keypoints } of this.joints) {
            box.checked = keypoints.some(index => session.isVisible(index));
            box.disabled = !session.pose;
            row.classList.toggle("chosen", keypoints.some(index => session.joints.has(index)));
        }
        this.tools.forEach(({ element, ready }) => { element.disabled = !ready(); });
    }
}
