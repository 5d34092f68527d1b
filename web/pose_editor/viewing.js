/** What is seen of a clip while an editor is open: the frame, the person, their joints. Subclasses make the poses. */
export class Viewing {
    /** clip: as apply_edits.js takes it. onChange(committed) is called after every change. */
    constructor(clip, fps, onChange = () => {}) {
        Object.assign(this, { clip, fps, onChange, frame: 0, joints: new Set(), part: "body", version: 0 });
        this.person = Math.min(...clip.people.keys(), Infinity);
    }

    get aspect() {
        return this.clip.width / this.clip.height;
    }

    get pose() {
        return this.people().get(this.person);
    }

    /** Return the people of a frame as they look now, a Map from numbers to {points, scores}. */
    people(frame = this.frame) {
        const key = `${frame} ${this.version}`;
        if (frame === this.frame && this.shown?.key === key) {
            return this.shown.people;
        }
        const people = this.peopleOf(frame);
        if (frame === this.frame) {
            this.shown = { key, people };
        }
        return people;
    }

    goTo(frame) {
        this.frame = Math.max(0, Math.min(this.clip.frames - 1, Math.round(frame)));
        this.onChange(false);
    }

    choose(person, joints = []) {
        this.person = person;
        this.joints = new Set(joints);
        this.onChange(false);
    }

    choosePart(person, part) {
        this.part = part;
        this.choose(person);
    }
}
