/** Shows in the language of the page what a run was refused for, or stopped at. */
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { readSentences, translate } from "./messages.js";

app.registerExtension({
    name: "SteadyDancer.Errors",
    async setup() {
        await readSentences();
        // While capturing: before the page itself takes the message.
        api.addEventListener("execution_error", ({ detail }) => {
            detail.exception_message = translate(detail.exception_message);
        }, true);
        api.addEventListener("promptQueued", () => { // after a refused run too
            for (const { errors } of Object.values(app.lastNodeErrors ?? {})) {
                for (const error of errors) {
                    error.details = translate(error.details);
                }
            }
        });
    },
});
