/** What nodes put out in finished jobs, by the ids that ComfyUI's history gives them. */
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const SEED = /seed/; // a new one stands in the widget as soon as the run began

/** Return the node of an execution id such as "12:3", or of "<id of the subgraph>:3", as the page keeps outputs. */
export function nodeOf(id) {
    const path = id.split(":");
    const subgraph = app.rootGraph?.subgraphs?.get(path[0]);
    return path.slice(subgraph ? 1 : 0).reduce(
        (owner, step) => owner?.subgraph?.getNodeById(step),
        { subgraph: subgraph ?? app.rootGraph },
    );
}

/** Return what a route of the server answers, {} if it refuses. */
export async function read(route) {
    const answer = await api.fetchApi(route);
    return answer.ok ? await answer.json() : {};
}

/** Return a function that says whether a node, and each that leads to it, has the values that it had in `prompt`. */
export function comparison(prompt) {
    const known = {};
    const agrees = (node, [name, value]) => {
        if (Array.isArray(value)) {
            return isUnchanged(String(value[0]));
        }
        const widget = node.widgets?.find(widget => widget.name === name);
        return !widget || SEED.test(name) || typeof value === "object" || widget.value === value;
    };
    const isUnchanged = id => {
        const node = nodeOf(id);
        const ran = prompt[id];
        known[id] ??= Boolean(ran) && node?.type === ran.class_type
            && Object.entries(ran.inputs).every(input => agrees(node, input));
        return known[id];
    };
    return isUnchanged;
}
