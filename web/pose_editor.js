/**
 * Puts a button on the nodes whose poses can be edited by hand, which opens the editor over the page; so does a double
 * click on a node's preview. Shows at the preview of a dance how far the people turn.
 *
 * The node's last run gave the page references to files with the poses and the background, which come through
 * ComfyUI's view of its folders. What is applied goes into the node's widgets, and so into the workflow.
 */
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { translate } from "./messages.js";
import { comparison, nodeOf, read } from "./outputs.js";
import { CorrectionEditor } from "./pose_editor/correction_editor.js";
import { Editor } from "./pose_editor/dialog.js";
import { Autosave } from "./pose_editor/history.js";
import { unpackPoses } from "./pose_editor/packed_poses.js";
import { readTurns, TurnStrip } from "./pose_editor/turn_strip.js";
import { wordsIn } from "./pose_editor/words.js";

const EDITED = ["Edit poses", "编辑姿态", "編輯姿態", "ポーズを編集", "포즈 편집"]; // en, zh, zh-TW, ja, ko
const CORRECTED = ["Align by hand", "手动对齐", "手動對齊", "手動で位置合わせ", "직접 정렬"];
const LANGUAGES = ["en", "zh", "zh-TW", "ja", "ko"];
// Each label has a widget of its own name: the page keeps the label of a widget by its name and the node's id.
const EDIT = { button: "steadydancer_edit_poses", labels: EDITED, tooltip: "open" };
const CORRECT = { button: "steadydancer_align_by_hand", labels: CORRECTED, tooltip: "openCorrections" };
const NODES = {
    SteadyDancerEditPoses: EDIT,
    SteadyDancerAlignPoses: CORRECT,
    SteadyDancerAnimateFromVideo: { ...CORRECT, hasPlayer: true },
};
const OUTPUT = "pose_editor"; // of a node's UI output
const STRIP = "steadydancer_turns";
const PICTURE = "$$canvas-image-preview"; // the widget of the classic renderer
const LEGEND = 18; // px
const SHOWN_MS = 8000;
const JOBS = 30; // a job holds nothing of a node that an earlier one had run

app.registerExtension({
    name: "SteadyDancer.PoseEditor",
    setup() {
        document.addEventListener("dblclick", openByPreview, true);
        document.addEventListener("timeupdate", markTime, true);
    },
    beforeRegisterNodeDef(nodeType, { name }) {
        if (!NODES[name]?.hasPlayer) {
            return;
        }
        const onExecuted = nodeType.prototype.onExecuted;
        nodeType.prototype.onExecuted = function (output, ...rest) {
            onExecuted?.call(this, output, ...rest);
            showTurns(this, output);
        };
    },
    nodeCreated(node) {
        const { button: name, labels, tooltip } = NODES[node.comfyClass] ?? {};
        if (!name) {
            return;
        }
        const button = node.addWidget("button", name, null, () => open(node), { serialize: false });
        button.serialize = false; // not in the workflow
        button.tooltip = wordsIn(language())(tooltip);
        button.label = labelOf(labels);
    },
    onNodeOutputsUpdated(outputs) {
        for (const [id, output] of Object.entries(outputs)) {
            const node = nodeOf(id);
            if (NODES[node?.type]?.hasPlayer) {
                showTurns(node, output);
            }
        }
    },
});

async function open(node) {
    const say = wordsIn(language());
    try {
        const shown = (outputOf(node) ?? await outputInHistory(node))?.[OUTPUT]?.[0];
        if (!shown) {
            tell("info", say("noData"));
            return;
        }
        if (shown.error) {
            tell("warn", say("failed", translate(shown.error)));
            return;
        }
        const answer = await fetch(addressOf(shown.poses));
        if (!answer.ok) {
            tell("warn", say("noFile"));
            return;
        }
        const { background, fps } = shown;
        const options = {
            clip: unpackPoses(await answer.arrayBuffer()),
            fps,
            background: background ? { ...background, url: addressOf(background) } : null,
            turns: await turnsOf(shown),
            language: language(),
            saved: new Autosave(`${app.rootGraph.id}:${node.id}`),
        };
        const editor = shown.corrections ? correctionEditor(node, shown, options) : poseEditor(node, options);
        editor.open();
    } catch (error) {
        console.error("SteadyDancer: the pose editor cannot be opened.", error);
        tell("error", say("failed", error.message));
    }
}

function poseEditor(node, options) {
    const text = node.widgets.find(({ name }) => name === "edits").value;
    return new Editor({ ...options, text, apply: edits => setWidgets(node, { edits }) });
}

/** An input that a link sets has the value of the run, and keeps it. */
function correctionEditor(node, { corrections, anchors }, options) {
    const names = Object.keys(corrections);
    const isLinked = name => node.inputs?.some(input => input.name === name && input.link != null);
    const pick = (wanted, valueOf) => Object.fromEntries(wanted.map(name => [name, valueOf(name)]));
    const free = names.filter(name => !isLinked(name));
    const values = pick(free, name => node.widgets.find(widget => widget.name === name)?.value);
    const locked = pick(names.filter(isLinked), name => corrections[name]);
    const apply = text => {
        const applied = JSON.parse(text);
        setWidgets(node, pick(free, name => applied[name]));
    };
    return new CorrectionEditor({ ...options, text: JSON.stringify(values), setup: { anchors, names, locked }, apply });
}

/** Give widgets their values, by name, as one step of the page's undo. */
function setWidgets(node, values) {
    app.canvas.emitBeforeChange();
    for (const [name, value] of Object.entries(values)) {
        const widget = node.widgets.find(widget => widget.name === name);
        if (widget && widget.value !== value) {
            widget.value = value;
            widget.callback?.(value);
        }
    }
    app.canvas.emitAfterChange();
    node.setDirtyCanvas(true, true);
}

/** Return the turns of a run, null where the file is gone. */
async function turnsOf({ facing }) {
    const answer = await fetch(addressOf(facing));
    return answer.ok ? readTurns(await answer.text()) : null;
}

/** Open the editor of the node whose picture or video is double-clicked: an element of the page, or on the canvas. */
function openByPreview(event) {
    const node = event.target === app.canvas.canvas ? nodeWithPictureAt(event) : nodeAround(pictureAt(event));
    if (node) {
        event.preventDefault(); // a video would fill the screen
        event.stopPropagation();
        open(node);
    }
}

/** Return the picture or video at the pointer; in Nodes 2.0 what lies around a picture takes its clicks. */
function pictureAt({ target, clientX, clientY }) {
    const pictures = target.closest?.("[data-node-id]")?.querySelectorAll("img, video") ?? [];
    return [...pictures].find(picture => {
        const { left, right, top, bottom } = picture.getBoundingClientRect();
        return clientX >= left && clientX <= right && clientY >= top && clientY <= bottom;
    }) ?? target;
}

function nodeWithPictureAt(event) {
    const [x, y] = app.canvas.convertEventToCanvasOffset(event);
    const node = app.canvas.graph.getNodeOnPos(x, y);
    const picture = node?.widgets?.find(({ name }) => name === PICTURE);
    return NODES[node?.comfyClass] && picture && y > node.pos[1] + picture.last_y ? node : undefined;
}

/** Return the node with an editor in which a picture or a video of the page stands, if any. */
function nodeAround(element) {
    if (!(element instanceof HTMLVideoElement || element instanceof HTMLImageElement)) {
        return undefined;
    }
    const id = element.closest("[data-node-id]")?.dataset.nodeId;
    const { nodes } = app.canvas.graph;
    const node = nodes.find(node => String(node.id) === id
        || node.widgets?.some(widget => widget.element?.contains?.(element)));
    return NODES[node?.comfyClass] && node;
}

/** Show under the preview of a node how far the people of its run turn. */
async function showTurns(node, output) {
    try {
        const shown = output?.[OUTPUT]?.[0];
        const run = `${shown?.facing?.filename} ${shown?.lead_in}`;
        if (!shown?.facing || node.steadydancerTurns === run) {
            return;
        }
        const turns = await turnsOf(shown);
        if (turns) {
            node.steadydancerTurns = run;
            stripOf(node).show(turns, shown.lead_in);
            node.setSize([node.size[0], Math.max(node.size[1], node.computeSize()[1])]);
            node.setDirtyCanvas(true, true);
        }
    } catch (error) {
        console.warn(`SteadyDancer: the page cannot show the turns of ${node.title}.`, error);
    }
}

function stripOf(node) {
    const known = node.widgets.find(({ name }) => name === STRIP);
    if (known) {
        return known.strip;
    }
    const strip = new TurnStrip(wordsIn(language()), at => {
        const video = [...document.querySelectorAll("video")].find(video => nodeAround(video) === node);
        if (video?.duration) {
            video.currentTime = at * video.duration;
        }
    });
    const height = () => strip.height + LEGEND;
    const widget = node.addDOMWidget(STRIP, "steadydancer_turns", strip.element, {
        serialize: false, hideOnZoom: false, getMinHeight: height, getMaxHeight: height,
    });
    Object.assign(widget, { serialize: false, strip });
    return strip;
}

function markTime({ target }) {
    const node = nodeAround(target);
    const strip = node?.widgets.find(({ name }) => name === STRIP)?.strip;
    strip?.mark(target.currentTime / target.duration || 0);
}

/** Return the UI output of the node's last run, as the page keeps it; null if it has none. */
function outputOf(node) {
    const output = app.nodeOutputs?.[node.graph === app.rootGraph ? node.id : `${node.graph.id}:${node.id}`];
    return output?.[OUTPUT] ? output : null;
}

/** Return the UI output of the newest finished job in which what leads to the node had the values that it has now. */
async function outputInHistory(node) {
    const { jobs } = await read(`/jobs?${new URLSearchParams({ status: "completed", limit: JOBS })}`);
    for (const { id } of jobs ?? []) {
        const job = await read(`/jobs/${id}`);
        const prompt = job.workflow?.prompt ?? {};
        const isUnchanged = comparison(prompt);
        for (const [nodeId, output] of Object.entries(job.outputs ?? {})) {
            const sources = Object.values(prompt[nodeId]?.inputs ?? {}).filter(Array.isArray);
            if (output[OUTPUT] && nodeOf(nodeId) === node && sources.every(([source]) => isUnchanged(String(source)))) {
                return output;
            }
        }
    }
    return null;
}

function addressOf({ filename, subfolder, type }) {
    return api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);
}

function language() {
    return app.extensionManager.setting.get("Comfy.Locale") ?? "en";
}

function labelOf(labels) {
    const known = [language(), language().slice(0, 2)].map(code => LANGUAGES.indexOf(code)).find(index => index >= 0);
    return labels[known ?? 0];
}

function tell(severity, detail) {
    app.extensionManager.toast.add({ severity, summary: "SteadyDancer", detail, life: SHOWN_MS });
}
