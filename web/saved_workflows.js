/**
 * Opens workflows that were saved while some nodes had their widgets in another order.
 *
 * ComfyUI's page finds a saved value by its position. The values of the nodes below are brought into today's order
 * before the graph is built; a workflow that has it already is left as it is.
 */
import { app } from "../../scripts/app.js";

const VALUES = [
    "steps", "text_guidance", "pose_guidance", "pose_start", "pose_end", "solver", "scheduler", "shift",
    "skip_negative_after", "pose_every",
];
const OWN = "use the values above"; // what the choice Custom was called
const ALIGNMENTS = ["robust", "official"];
const RENAMED = { // node: the choice that an input belongs to now
    SteadyDancerSampler: Object.fromEntries(VALUES.map(name => [name, "preset"])),
    SteadyDancerChunkSampler: Object.fromEntries(VALUES.map(name => [name, "preset"])),
    SteadyDancerAnimateFromVideo: { width: "size", height: "size" },
};

const REORDERED = { // node: from its saved values to today's, null where they are in order
    /** seed, its control, eight values, two shortcuts (later), preset (later) */
    SteadyDancerSampler(saved) {
        return typeof saved[0] === "number" ? [...preset(saved.slice(2, 10), saved.slice(10)), ...saved.slice(0, 2)] : null;
    },
    /** seed, its control, eight values, eight of the chunks, two shortcuts (later), preset and run name (later) */
    SteadyDancerChunkSampler(saved) {
        if (typeof saved[0] !== "number") {
            return null;
        }
        return [
            ...preset(saved.slice(2, 10), saved.slice(18)), ...saved.slice(0, 2), ...saved.slice(10, 18), saved[21] ?? "",
        ];
    },
    /** person, mode, smoothing, lead-in, frames, width, height, seed, its control, anchor and meeting (later) */
    SteadyDancerAnimateFromVideo(saved) {
        if (!ALIGNMENTS.includes(saved[1])) {
            return null;
        }
        const [person, mode, smoothing, leadIn, frames, width, height, seed, , anchor = "first", meetAt = "neck"] = saved;
        const size = width || height ? ["custom", width, height] : ["576p"];
        return [
            person, ...size, frames, smoothing, leadIn, 0, "automatic", mode, anchor, meetAt, 1, 0, 0, 1, 0, 0, seed, 16,
        ];
    },
};

app.registerExtension({
    name: "SteadyDancer.SavedWorkflows",
    beforeConfigureGraph(workflow) {
        const graphs = [workflow, ...workflow?.definitions?.subgraphs ?? []];
        graphs.flatMap(graph => graph?.nodes ?? []).forEach(bringUpToDate);
    },
});

function preset(values, [skipAfter = 1, every = 1, name = OWN]) {
    return name === OWN ? ["Custom", ...values, skipAfter, every] : [name];
}

function bringUpToDate(node) {
    const values = node.widgets_values;
    const ordered = Array.isArray(values) ? REORDERED[node.type]?.(values) : null;
    if (!ordered) {
        return;
    }
    node.widgets_values = ordered;
    for (const input of node.inputs ?? []) {
        const choice = RENAMED[node.type][input.name];
        if (choice) {
            input.name = `${choice}.${input.name}`;
            input.widget = { name: input.name };
        }
    }
}
