/**
 * Shows the workflows of the pack in the page's language: titles of nodes and groups, labels of subgraphs, and notes.
 *
 * ComfyUI's page translates what a node is, but no titles that a workflow gives. The words stand in the pack's locales,
 * which the server sends. A title that an artist gave is in no list and stays.
 */
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const PACK = "SteadyDancer"; // the ids of the pack's nodes begin with it
const NOTE = "MarkdownNote";
const CHINESE = /\n-{3,}\s*\n(?=\s*(?:###\s*)?中文)/; // what a note of the pack says in Chinese follows this line
let words;

app.registerExtension({
    name: "SteadyDancer.Titles",
    async beforeConfigureGraph(workflow) {
        const graphs = [workflow, ...workflow?.definitions?.subgraphs ?? []];
        const nodes = graphs.flatMap(graph => graph?.nodes ?? []);
        const language = app.extensionManager.setting.get("Comfy.Locale") ?? "en";
        if (language.startsWith("en") || !nodes.some(node => String(node.type).startsWith(PACK))) {
            return;
        }
        const titles = (await wordsOf(language)).titles ?? {};
        graphs.forEach(graph => translate(graph, titles));
        if (language.startsWith("zh")) {
            nodes.filter(node => node.type === NOTE).forEach(turnNote);
        }
    },
});

/** Return the pack's own words in a language, {} without any. */
async function wordsOf(language) {
    try {
        words ??= await (await api.fetchApi("/i18n")).json();
        return words[language]?.steadydancer ?? {};
    } catch (error) {
        console.warn("SteadyDancer: titles stay English.", error);
        return {};
    }
}

function translate(graph, titles) {
    for (const named of [...graph.nodes ?? [], ...graph.groups ?? []]) {
        named.title = titles[named.title] ?? named.title;
    }
    for (const slot of [...graph.nodes ?? [], graph].flatMap(owner => owner.inputs ?? [])) {
        slot.label = titles[slot.label] ?? slot.label;
    }
}

/** Put the Chinese of a note before its English. */
function turnNote(note) {
    const [english, chinese] = String(note.widgets_values?.[0]).split(CHINESE);
    if (chinese) {
        note.widgets_values[0] = `${chinese.trim()}\n\n---\n\n${english.trim()}\n`;
    }
}
