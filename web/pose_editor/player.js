/** Plays the poses at their true speed, with the video behind them and its sound. */
const HALF_FRAME = 0.5; // seek to the middle of a frame, so that rounding never shows its neighbor

export class Player {
    /** video: the element behind the poses, or null. start: the seconds in it at which the poses begin. */
    constructor(session, video, start) {
        Object.assign(this, { session, video, start, playing: false });
    }

    toggle() {
        if (this.playing) {
            this.pause();
        } else {
            this.play();
        }
    }

    play() {
        const { session, video } = this;
        if (session.frame >= session.clip.frames - 1) {
            session.goTo(0);
        }
        this.playing = true;
        this.begun = performance.now() - session.frame / session.fps * 1000;
        this.seek();
        video?.play().catch(error => console.warn("SteadyDancer: the page cannot play the video.", error));
        const tick = () => {
            if (!this.playing) {
                return;
            }
            const frame = Math.floor(this.seconds() * session.fps + 1e-6);
            if (frame >= session.clip.frames) {
                this.pause();
                return;
            }
            if (frame !== session.frame) {
                session.goTo(frame);
            }
            requestAnimationFrame(tick);
        };
        requestAnimationFrame(tick);
        session.onChange(false);
    }

    /** Return the seconds since the first pose: by the video while it plays, else by the clock. */
    seconds() {
        const { video } = this;
        if (video && !video.paused && video.readyState >= 2) {
            const seconds = Math.max(0, video.currentTime - this.start);
            this.begun = performance.now() - seconds * 1000;
            return seconds;
        }
        return (performance.now() - this.begun) / 1000;
    }

    pause() {
        this.playing = false;
        this.video?.pause();
        this.session.onChange(false);
    }

    /** Show the frame of the video that belongs to the poses. */
    seek() {
        const { session, video } = this;
        if (video && this.sought !== session.frame) {
            this.sought = session.frame;
            video.currentTime = this.start + (session.frame + HALF_FRAME) / session.fps;
        }
    }

    /** Follow the poses while nothing plays. */
    follow() {
        if (!this.playing) {
            this.seek();
        } else {
            this.sought = null;
        }
    }
}
