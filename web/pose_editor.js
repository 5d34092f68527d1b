/**
 * Puts the button "Edit poses" on the node Edit Poses, which opens the editor over the page.
 *
 * The node's last run gave the page references to files with the poses and the background, which come through
 * ComfyUI's view of its folders. The edits go into the node's widget, and so into the workflow.
 */
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { translate } from "./messages.js";
import { comparison, nodeOf, read } from "./outputs.js";
import { Editor } from "./pose_editor/dialog.js";
import { Autosave } from "./pose_editor/history.js";
import { unpackPoses } from "./pose_editor/packed_poses.js";
import { wordsIn } from "./pose_editor/words.js";

const NODE = "SteadyDancerEditPoses";
const OUTPUT = "pose_editor"; // of the node's UI output
const BUTTON = "steadydancer_edit_poses";
const LABELS = { en: "Edit poses", zh: "编辑姿态", "zh-TW": "編輯姿態", ja: "ポーズを編集", ko: "포즈 편집" };
const SHOWN_MS = 8000;
const JOBS = 30; // a job holds nothing of a node that an earlier one had run

app.registerExtension({
    name: "SteadyDancer.PoseEditor",
    nodeCreated(node) {
        if (node.comfyClass !== NODE) {
            return;
        }
        const button = node.addWidget("button", BUTTON, null, () => open(node), { serialize: false });
        button.serialize = false; // not in the workflow
        button.tooltip = wordsIn(language())("open");
        button.label = LABELS[language()] ?? LABELS[language().slice(0, 2)] ?? LABELS.en;
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
        const widget = node.widgets.find(({ name }) => name === "edits");
        const { background } = shown;
        new Editor({
            clip: unpackPoses(await answer.arrayBuffer()),
            text: widget.value,
            fps: shown.fps,
            background: background ? { ...background, url: addressOf(background) } : null,
            language: language(),
            saved: new Autosave(`${app.rootGraph.id}:${node.id}`),
            apply: text => {
                app.canvas.emitBeforeChange();
                widget.value = text;
                widget.callback?.(text);
                app.canvas.emitAfterChange(); // one step of the page's undo
                node.setDirtyCanvas(true, true);
            },
        }).open();
    } catch (error) {
        console.error("SteadyDancer: the pose editor cannot be opened.", error);
        tell("error", say("failed", error.message));
    }
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

function tell(severity, detail) {
    app.extensionManager.toast.add({ severity, summary: "SteadyDancer", detail, life: SHOWN_MS });
}
