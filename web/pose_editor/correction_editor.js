/** The editor in which an alignment is corrected by hand: the aligned dance on the photo, the node's corrections. */
import { CorrectionPanel } from "./correction_panel.js";
import { CorrectionSession } from "./correction_session.js";
import { Editor } from "./dialog.js";

export class CorrectionEditor extends Editor {
    /** As Editor, with `setup` as CorrectionSession takes it. `text` holds the node's corrections as JSON. */

    get title() {
        return "correctTitle";
    }

    get editsPoses() {
        return false;
    }

    newSession(text) {
        const { clip, setup, fps } = this.options;
        return new CorrectionSession(clip, setup, text, fps);
    }

    newPanel() {
        return new CorrectionPanel(this.session, this.say);
    }

    remarks() {
        return [this.say("correctHint")];
    }
}
