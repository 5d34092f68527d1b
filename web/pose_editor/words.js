/** The editor's words, English and Chinese, and the names of joints. */
const WORDS = {
    en: {
        title: "Edit poses", apply: "Apply", close: "Close", undo: "Undo", redo: "Redo", fit: "Fit", keys: "Keys",
        onion: "Onion skin", opacity: "Background", mode: "Drag", free: "Free", "keep bone lengths": "Keep bone lengths",
        "rotate about parent": "Rotate about parent", "body part": "Body part", correctTitle: "Align by hand",
        scaleValue: "scale", xValue: "x", yValue: "y", reset: "Reset all", linked: "A link sets this input.",
        openCorrections: "Opens the aligned dance on the photo, to correct size and place by hand.",
        turns: "How far each person turns: 0 faces the camera, 90 is a profile, 180 a back", turnFront: "front",
        turn45: "from 45°", turn67: "from 67°", turn90: "from 90°: wrong face likely",
        person: "Person", joints: "Joints", nobodyHere: "nobody",
        addPerson: "Add skeleton", deletePerson: "Delete person", swapSides: "Swap left and right",
        exchange: "Exchange from here", split: "Split from here", nobody: "Mark nobody", copy: "Copy pose",
        paste: "Paste pose", scale: "Scale", body: "body", head: "head", arms: "arms", legs: "legs", play: "Play",
        pause: "Pause", frame: "Frame", scope: "Edits change", one: "this frame", range: "a range", all: "all frames",
        from: "from", to: "to", easeIn: "Ease in", easeOut: "Ease out", hide: "Hide", other: "the other person",
        edits: "Edits: {1}", skipped: "{1} cannot be read and are kept",
        misfits: "these do not fit the poses and are kept: {1}", restored: "Edits that were not applied were kept.",
        take: "Use them", discard: "Discard", noVideo: "The browser cannot play this video; the poses can be edited.",
        unread: "The stored edits cannot be read: {1} Applying replaces them.",
        open: "Opens the poses of the last run in the editor.",
        noData: "Run the workflow once: then the node has poses to show.",
        noFile: "The poses of the last run are gone. Run the workflow again.",
        failed: "The editor cannot be opened: {1}",
        hint: "Drag a joint. Shift selects several, the wheel zooms, Space or the middle button pans, ? shows all keys.",
        nobody_hint: "Nobody is in these poses. Press Add skeleton and drag it onto the figure.",
        partHint: "Drag the box to shift the part, a corner to scale it. A click on a limb chooses its part.",
        correctHint: "Drag head, arms, legs or body to shift them, a yellow corner to scale. Apply changes the node's "
            + "inputs; then run.",
        keyPart: "next body part", keyScale: "scale the part",
        keyStep: "step by a frame", keyEnds: "first and last frame", keyPlay: "play, or hold and drag to pan",
        keyModes: "drag mode", keyPeople: "next person", keyJoints: "previous and next joint",
        keyNudge: "move the selected joints or the part by 1 pixel, with Shift by 10", keyAll: "select all joints",
        keyHide: "hide the selected joints", keyUndo: "undo, redo", keyCopy: "copy and paste the pose",
        keyRange: "start and end of the range", keySwap: "swap left and right", keyApply: "apply", keyFit: "fit",
        keyOnion: "onion skin", keyClose: "close; edits that are not applied are kept for the next time",
    },
    zh: {
        title: "编辑姿态", apply: "应用", close: "关闭", undo: "撤销", redo: "重做", fit: "适应窗口", keys: "快捷键",
        onion: "洋葱皮", opacity: "背景", mode: "拖动", free: "自由", "keep bone lengths": "保持骨长",
        "rotate about parent": "绕父关节旋转", "body part": "身体部位", correctTitle: "手动对齐", scaleValue: "缩放",
        xValue: "x", yValue: "y", reset: "全部重置", linked: "这个输入由连线决定。",
        openCorrections: "在照片上打开对齐后的舞蹈，手动修正大小和位置。",
        turns: "每个人转身的角度：0 正对镜头，90 为侧面，180 为背面", turnFront: "正面", turn45: "45° 起", turn67: "67° 起",
        turn90: "90° 起：脸很可能出错", person: "人物", joints: "关节", nobodyHere: "无人",
        addPerson: "添加骨架", deletePerson: "删除人物", swapSides: "左右互换", exchange: "从这里交换",
        split: "从这里拆分", nobody: "标为无人", copy: "复制姿态", paste: "粘贴姿态", scale: "缩放", body: "全身",
        head: "头", arms: "手臂", legs: "腿", play: "播放", pause: "暂停", frame: "帧", scope: "修改范围", one: "当前帧",
        range: "一段", all: "所有帧", from: "从", to: "到", easeIn: "缓入", easeOut: "缓出", hide: "隐藏",
        other: "另一个人物", edits: "{1} 处修改", skipped: "{1} 处无法读取，已保留",
        misfits: "这些修改与姿态不符，已保留：{1}", restored: "保留着上次未应用的修改。",
        take: "使用", discard: "丢弃", noVideo: "浏览器无法播放这个视频；姿态仍可编辑。",
        unread: "无法读取保存的修改：{1} 应用后会被替换。", open: "在编辑器里打开上次运行的姿态。",
        noData: "请先运行一次工作流，编辑器才有姿态可显示。",
        noFile: "上次运行的姿态已不在。请再运行一次工作流。", failed: "无法打开编辑器：{1}",
        hint: "拖动关节。Shift 多选，滚轮缩放，空格或中键平移，? 显示所有快捷键。",
        nobody_hint: "这些姿态里没有人。点“添加骨架”，再把它拖到人物上。",
        partHint: "拖动方框移动该部位，拖动角点缩放。单击肢体选择它所属的部位。",
        correctHint: "拖动头、手臂、腿或全身来移动，拖动黄色角点缩放。应用后会改变节点的输入；然后运行。",
        keyPart: "下一个身体部位", keyScale: "缩放该部位",
        keyStep: "前后一帧", keyEnds: "首帧和末帧", keyPlay: "播放；按住并拖动则平移", keyModes: "拖动方式",
        keyPeople: "下一个人物", keyJoints: "上一个和下一个关节", keyNudge: "把选中的关节或部位移动 1 像素，加 Shift 为 10",
        keyAll: "选中所有关节", keyHide: "隐藏选中的关节", keyUndo: "撤销、重做", keyCopy: "复制和粘贴姿态",
        keyRange: "范围的开头和结尾", keySwap: "左右互换", keyApply: "应用", keyFit: "适应窗口", keyOnion: "洋葱皮",
        keyClose: "关闭；未应用的修改会保留到下次",
    },
};
const PARTS = {
    nose: "鼻子", neck: "脖子", shoulder: "肩", elbow: "肘", wrist: "腕", hip: "胯", knee: "膝", ankle: "踝", eye: "眼",
    ear: "耳", hand: "手", big_toe: "大脚趾", small_toe: "小脚趾", heel: "脚跟",
};
const SIDES = { left: "左", right: "右" };
const NAME = /^(?:(left|right)_)?([a-z_]+?)(?:_(\d+))?$/;

/** The keys and what they do, for the sheet. */
export const KEY_ROWS = [
    ["← →", "keyStep"], ["Home End", "keyEnds"], ["Space", "keyPlay"], ["1 2 3 4", "keyModes"], ["N", "keyPeople"],
    [", .", "keyJoints"], ["Alt + ← ↑ → ↓", "keyNudge"], ["Ctrl + A", "keyAll"], ["Delete", "keyHide"],
    ["P", "keyPart"], ["+ −", "keyScale"], ["Ctrl + Z, Ctrl + Shift + Z", "keyUndo"],
    ["Ctrl + C, Ctrl + V", "keyCopy"], ["I O", "keyRange"],
    ["S", "keySwap"], ["F", "keyFit"], ["G", "keyOnion"], ["Ctrl + Enter", "keyApply"], ["Escape", "keyClose"],
];

/** What is there only where single joints can be edited. */
export const EDIT_KEYS = ["keyModes", "keyJoints", "keyAll", "keyHide", "keyCopy", "keyRange", "keySwap"];

/** Return say(key, value), which gives a word in the language; Chinese in zh and zh-TW, else English. */
export function wordsIn(language) {
    const words = WORDS[language.slice(0, 2)] ?? WORDS.en;
    return (key, value = "") => words[key].replace("{1}", () => value);
}

/** Return how a joint is called in the language. */
export function jointName(name, language) {
    if (language.slice(0, 2) !== "zh") {
        return name.replaceAll("_", " ");
    }
    const [, side, part, number] = NAME.exec(name);
    return `${SIDES[side] ?? ""}${PARTS[part] ?? part}${number ? ` ${number}` : ""}`;
}
