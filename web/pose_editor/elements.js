/** Makes elements of the editor's page. */

/** Return an element with these properties and children; "on" holds listeners, "attributes" what is no property. */
export function make(tag, { on = {}, attributes = {}, ...properties } = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    Object.entries(on).forEach(([name, listener]) => element.addEventListener(name, listener));
    Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
    element.append(...children);
    return element;
}

export function button(text, onClick, properties = {}) {
    return make("button", { type: "button", textContent: text, on: { click: onClick }, ...properties });
}

/** Return a select; rows: [value, text]. */
export function choice(rows, onChange, label) {
    const select = make("select", { ariaLabel: label, title: label });
    setChoices(select, rows);
    select.addEventListener("change", () => onChange(select.value));
    return select;
}

export function setChoices(select, rows) {
    const known = JSON.stringify(rows);
    if (select.known !== known) {
        select.known = known;
        select.replaceChildren(...rows.map(([value, textContent]) => make("option", { value, textContent })));
    }
}

/** Return a field for a whole number that calls onChange with it, within its limits. */
export function numberField(label, { min, max, step = 1 }, onChange) {
    const field = make("input", { type: "number", min, max, step, ariaLabel: label, title: label });
    field.addEventListener("change", () => {
        const value = Math.min(Number(field.max), Math.max(Number(field.min), Number(field.value) || 0));
        field.value = value;
        onChange(value);
    });
    return field;
}
