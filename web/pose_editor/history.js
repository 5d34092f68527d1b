/** Undo and redo over a value that is replaced, never changed; and a copy of it that survives a closed page. */
const MOST = 200;

export class History {
    constructor(value, onChange = () => {}) {
        this.past = [];
        this.future = [];
        this.value = value;
        this.onChange = onChange;
    }

    /** Make `value` the present. With `merge` it replaces the present, so that a drag is one step. */
    push(value, merge = false) {
        if (!merge) {
            this.past.push(this.value);
            if (this.past.length > MOST) {
                this.past.shift();
            }
        }
        this.future = [];
        this.value = value;
        this.onChange(value);
    }

    get canUndo() {
        return this.past.length > 0;
    }

    get canRedo() {
        return this.future.length > 0;
    }

    undo() {
        if (this.canUndo) {
            this.future.push(this.value);
            this.value = this.past.pop();
            this.onChange(this.value);
        }
    }

    redo() {
        if (this.canRedo) {
            this.past.push(this.value);
            this.value = this.future.pop();
            this.onChange(this.value);
        }
    }
}

/** An unapplied list of edits in the browser's own storage; storage may be full or switched off. */
export class Autosave {
    constructor(key, storage = globalThis.localStorage) {
        this.key = `steadydancer.pose_editor.${key}`;
        this.storage = storage;
    }

    read() {
        try {
            return this.storage.getItem(this.key);
        } catch {
            return null;
        }
    }

    /** Return whether the text was kept. */
    write(text) {
        try {
            this.storage.setItem(this.key, text);
            return true;
        } catch {
            return false;
        }
    }

    clear() {
        try {
            this.storage.removeItem(this.key);
        } catch {
            // What cannot be written was not there.
        }
    }
}
