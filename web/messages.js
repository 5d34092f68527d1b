/**
 * What the server says, in the language of the page.
 *
 * The server writes English. `messages/<language>.json` holds its sentences, with {names} where values stand, and
 * their translations; a sentence that it does not hold stays as it is.
 */
import { app } from "../../scripts/app.js";

const LANGUAGES = ["zh"];
const SENTENCES = {}; // by language: [pattern, replacement] in the order of the file

/** Read the sentences; before, `translate` changes nothing. */
export async function readSentences() {
    for (const language of LANGUAGES) {
        const answer = await fetch(new URL(`./messages/${language}.json`, import.meta.url));
        SENTENCES[language] = Object.entries(await answer.json()).map(rule);
    }
}

/** Return the server's text in a language, by default the page's; as it is in a language that has no sentences. */
export function translate(text, language = app.extensionManager.setting.get("Comfy.Locale") ?? "en") {
    const sentences = SENTENCES[language.slice(0, 2)];
    const translated = sentences?.reduce((words, [pattern, said]) => words.replace(pattern, said), text) ?? text;
    return translated === text ? text : translated.replaceAll(/([。；，]) /g, "$1");
}

function rule([english, words]) {
    const literal = english.replaceAll(/[.*+?^$()[\]|\\]/g, "\\$&");
    const pattern = literal.replaceAll(/\{(\w+)\}/g, "(?<$1>.+?)");
    return [new RegExp(pattern, "g"), words.replaceAll("$", "$$$$").replaceAll(/\{(\w+)\}/g, "$<$1>")];
}
