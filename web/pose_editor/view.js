/** The window onto the frame: where a point of the frame lies on the canvas, with zoom and pan. */
const ZOOM_RANGE = [0.1, 40];

export class View {
    /** width, height: of the frame in pixels; canvas: {width, height} in CSS pixels. */
    constructor(width, height, canvas) {
        this.width = width;
        this.height = height;
        this.canvas = canvas;
        this.fit();
    }

    /** Show the whole frame in the middle. */
    fit(margin = 24) {
        const { width, height } = this.canvas;
        this.zoom = Math.max(ZOOM_RANGE[0], Math.min((width - margin) / this.width, (height - margin) / this.height));
        this.left = (width - this.width * this.zoom) / 2;
        this.top = (height - this.height * this.zoom) / 2;
    }

    resize(canvas) {
        this.canvas = canvas;
        this.fit();
    }

    /** Zoom by `factor` about a point of the canvas, which stays where it is. */
    zoomAt([x, y], factor) {
        const zoom = Math.min(ZOOM_RANGE[1], Math.max(ZOOM_RANGE[0], this.zoom * factor));
        this.left = x - (x - this.left) * zoom / this.zoom;
        this.top = y - (y - this.top) * zoom / this.zoom;
        this.zoom = zoom;
    }

    pan(dx, dy) {
        this.left += dx;
        this.top += dy;
    }

    /** Return the point of the canvas for a place in fractions of the frame. */
    toCanvas(x, y) {
        return [this.left + x * this.width * this.zoom, this.top + y * this.height * this.zoom];
    }

    /** Return the place in fractions of the frame for a point of the canvas. */
    toFrame(x, y) {
        return [(x - this.left) / (this.width * this.zoom), (y - this.top) / (this.height * this.zoom)];
    }
}
