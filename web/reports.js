/**
 * Shows the report of a node's last run in the node, as text to read and to copy.
 *
 * ComfyUI's page shows the text of a UI output in a few nodes of its own only, and may clear progress texts when a job
 * ends. So every node of the pack that reports gets a read-only text box. The box belongs to the page alone: it is in
 * no saved workflow and in no prompt. Where a workflow is opened again its reports come back from the outputs that the
 * page keeps, else from ComfyUI's history.
 */
import { app } from "../../scripts/app.js";
import { translate } from "./messages.js";
import { comparison, nodeOf, read } from "./outputs.js";

const PACK = "SteadyDancer"; // the ids of the pack's nodes begin with it
const NAME = "steadydancer_report";
const STAGE = "$$node-text-preview"; // the page's widget of progress texts
const LABELS = { en: "report", zh: "报告", "zh-TW": "報告", ja: "レポート", ko: "보고서" };
const CHARACTER = [6.2, 14]; // px, width and height
const BORDER = [40, 22]; // px, of the box in its node
const PREVIEW_WIDTH = 600; // px of a node with a preview, which is at least 512 wide then
const PLAYER_BORDER = 60; // px, above and below a preview
const MAX_LINES = 8; // a longer report scrolls
const JOBS = 5; // a job holds no report of a node that an earlier one had run
let loads = 0;

app.registerExtension({
    name: "SteadyDancer.Reports",
    beforeRegisterNodeDef(nodeType, nodeData) {
        if (!nodeData.name.startsWith(PACK)) {
            return;
        }
        const onExecuted = nodeType.prototype.onExecuted;
        nodeType.prototype.onExecuted = function (output, ...rest) {
            onExecuted?.call(this, output, ...rest);
            removeStage(this);
            show(this, output);
        };
    },
    onNodeOutputsUpdated(outputs) {
        restore(outputs);
    },
    afterConfigureGraph() {
        restore(app.nodeOutputs);
        restoreFromHistory(++loads).catch(error => console.warn("SteadyDancer: no reports from the history.", error));
    },
});

/** Show the report in a node's UI output, or nothing where there is none. */
function show(node, output) {
    try {
        const box = boxOf(node);
        const text = reportIn(output);
        if (text) {
            (box ?? addBox(node)).value = text;
            const [width, height] = leastSize(node, output, !box);
            node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
        } else if (box) {
            node.removeWidget(box);
        }
        node.setDirtyCanvas(true, true);
    } catch (error) {
        console.warn(`SteadyDancer: the page cannot show the report of ${node.title}.`, error);
    }
}

/** The page keeps the last progress text, which says no more what the node does. */
function removeStage(node) {
    const stage = node.widgets?.find(widget => widget.name === STAGE);
    if (stage) {
        node.removeWidget(stage);
    }
}

/** Return the least width and height in px of a node that shows its report, and a preview of `preview_size` if any. */
function leastSize(node, output, isNew) {
    const [width, height] = node.computeSize();
    // A player that the classic renderer added would widen the node with every run, and counts in the height.
    const least = isNew ? width : 0;
    const [across, down] = output.preview_size ?? [];
    if (!across) {
        return [least, height];
    }
    const shown = Math.max(node.size[0], least, PREVIEW_WIDTH);
    const hasPlayer = node.widgets.some(widget => widget.name === "video-preview");
    return [shown, height + (hasPlayer ? 0 : PLAYER_BORDER + Math.min(down, shown * down / across))];
}

function boxOf(node) {
    return node.widgets?.find(widget => widget.name === NAME);
}

/** `shown` is what the node's picture does not show of its `text`. */
function reportIn(output) {
    return translate([output?.shown ?? output?.text ?? []].flat().join("\n").trim());
}

function addBox(node) {
    const { widget } = app.widgets.STRING(node, NAME, ["STRING", { multiline: true }], app);
    widget.serialize = false; // not in the workflow
    widget.options.serialize = false; // not in the prompt
    widget.options.read_only = true; // in Nodes 2.0
    widget.options.hideInPanel = true;
    widget.options.getMinHeight = () => heightOf(widget.value, node.size[0]);
    widget.element.readOnly = true; // in the classic renderer
    const language = app.extensionManager.setting.get("Comfy.Locale") ?? "en";
    widget.label = LABELS[language] ?? LABELS[language.slice(0, 2)] ?? LABELS.en;
    return widget;
}

function heightOf(text, nodeWidth) {
    const fitting = Math.max((nodeWidth - BORDER[0]) / CHARACTER[0], 1);
    const lines = text.split("\n").reduce((count, line) => count + Math.max(Math.ceil(line.length / fitting), 1), 0);
    return BORDER[1] + CHARACTER[1] * Math.min(lines, MAX_LINES);
}

/** Show the reports in `outputs`, UI outputs by node id. */
function restore(outputs, belongs = () => true) {
    for (const [id, output] of Object.entries(outputs ?? {})) {
        const node = nodeOf(id);
        if (isOurs(node) && belongs(id, node)) {
            show(node, output);
        }
    }
}

function isOurs(node) {
    return Boolean(node?.type?.startsWith(PACK));
}

/** Show in nodes without a report what they reported in the last finished jobs of the open workflow. */
async function restoreFromHistory(load) {
    const graphs = [app.rootGraph, ...app.rootGraph.subgraphs.values()];
    if (!graphs.some(graph => graph.nodes.some(isOurs))) {
        return;
    }
    const query = new URLSearchParams({ workflow_id: app.rootGraph.id, status: "completed", limit: JOBS });
    const { jobs } = await read(`/jobs?${query}`);
    for (const { id } of jobs ?? []) {
        const job = await read(`/jobs/${id}`);
        if (load !== loads) {
            return; // another workflow was opened meanwhile
        }
        const isUnchanged = comparison(job.workflow?.prompt ?? {});
        restore(job.outputs, (id, node) => !boxOf(node) && isUnchanged(id));
    }
}
