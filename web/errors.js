/**
 * Shows in the language of the page what a run stopped at, or was refused for.
 *
 * Where a node refuses a value, the page says only that it does, and shows the node's own sentence after one more click.
 */
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { readSentences, translate } from "./messages.js";

const PACK = "SteadyDancer"; // the ids of the pack's nodes begin with it
const REFUSED = "custom_validation_failed";
const SHOWN_MS = 20000;
const TICK_MS = 200;
const TICKS = 150; // that the server may take to answer
let waiting = 0;

app.registerExtension({
    name: "SteadyDancer.Errors",
    async setup() {
        // While capturing: before the page itself takes the message.
        api.addEventListener("execution_error", ({ detail }) => {
            detail.exception_message = translate(detail.exception_message ?? "");
        }, true);
        // The page reports that a run begins to be queued, and that a part of it was; not that all of it is refused.
        api.addEventListener("promptQueueing", () => waitForRefusals(TICKS));
        api.addEventListener("promptQueued", () => waiting && waitForRefusals(1));
        await readSentences();
    },
});

function waitForRefusals(ticks) {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
        waiting = 0;
        if (app.lastNodeErrors) {
            showRefusals(Object.values(app.lastNodeErrors));
        } else if (ticks > 1) {
            waitForRefusals(ticks - 1);
        }
    }, TICK_MS);
}

function showRefusals(nodes) {
    const ours = nodes.filter(node => node.class_type.startsWith(PACK)).flatMap(node => node.errors);
    for (const { details } of ours.filter(error => error.type === REFUSED)) {
        const detail = translate(details.replace(/^\w+ - /, "")); // the input that it begins with is in the sentence
        app.extensionManager.toast.add({ severity: "error", summary: "SteadyDancer", detail, life: SHOWN_MS });
    }
}
