/** How the editor looks, apart from the page's own style. */
export const STYLE = `
* { box-sizing: border-box; }
:host { position: fixed; inset: 0; }
dialog { position: fixed; inset: 0; width: 100vw; height: 100vh; max-width: none; max-height: none; margin: 0;
    padding: 0; border: 0; background: #1b1c1f; color: #e6e6e6; font: 13px system-ui, sans-serif; overflow: hidden; }
.root { display: flex; flex-direction: column; height: 100%; outline: none; }
header, .controls, .offer { display: flex; flex-wrap: wrap; align-items: center; gap: 6px; padding: 6px 10px; }
header { background: #26282c; }
header .space { flex: 1; }
.offer { background: #5a4a1b; }
.offer[hidden], .sheet[hidden] { display: none; }
main { display: grid; grid-template-columns: 1fr 250px; flex: 1; min-height: 0; }
.stage { position: relative; overflow: hidden; min-width: 0; background: #101113; }
.frame { position: absolute; left: 0; top: 0; transform-origin: 0 0; background: #000; pointer-events: none; }
.frame img, .frame video { display: block; width: 100%; height: 100%; object-fit: fill; }
.stage canvas { position: absolute; inset: 0; width: 100%; height: 100%; touch-action: none; outline: none; }
.stage canvas:focus-visible { outline: 1px solid #6ea0ff; outline-offset: -1px; }
aside { display: flex; flex-direction: column; gap: 8px; min-height: 0; padding: 8px; background: #222327; }
aside .row { display: flex; gap: 6px; align-items: center; }
aside .row > * { min-width: 0; flex: 1; }
.joints { flex: 1; min-height: 60px; overflow-y: auto; border: 1px solid #3a3c42; border-radius: 4px; }
.joints label { display: flex; gap: 6px; align-items: center; padding: 1px 6px; cursor: default; }
.joints span { flex: 1; cursor: pointer; }
.joints .chosen { background: #34466b; }
.tools { display: grid; grid-template-columns: 1fr 1fr; gap: 5px; }
button, select, input { font: inherit; color: inherit; background: #35373d; border: 1px solid #4a4d55;
    border-radius: 4px; padding: 3px 8px; }
button { cursor: pointer; }
button:hover:not(:disabled) { background: #44474f; }
button:disabled, select:disabled, input:disabled { opacity: 0.45; cursor: default; }
button[aria-pressed=true] { background: #34466b; border-color: #6ea0ff; }
button.main { background: #2f5fb8; border-color: #6ea0ff; font-weight: 600; }
input[type=number] { width: 62px; padding: 3px 4px; }
input[type=range] { width: 90px; padding: 0; }
.group { display: flex; flex-wrap: wrap; gap: 4px; align-items: center; padding: 6px; border: 1px solid #3a3c42;
    border-radius: 4px; }
.group button { flex: 1 0 100%; text-align: left; }
.group input[type=number] { width: 50px; padding: 3px 2px; }
.group input::-webkit-inner-spin-button { display: none; }
.times { background: #26282c; }
.bar { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; padding-right: 10px; }
.lane { padding: 0; overflow-y: auto; max-height: 170px; }
.lane canvas { display: block; width: 100%; touch-action: none; }
footer { padding: 3px 10px; color: #b8b8b8; background: #1b1c1f; min-height: 22px; }
.sheet { position: absolute; right: 12px; top: 48px; z-index: 2; padding: 12px 16px; background: #2c2e33;
    border: 1px solid #4a4d55; border-radius: 6px; max-height: calc(100vh - 80px); overflow-y: auto; }
.sheet td { padding: 2px 12px 2px 0; }
kbd { font-family: inherit; color: #fff; }
`;
