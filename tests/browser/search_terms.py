"""What people type into ComfyUI's search for this pack's nodes: 40 terms in each language, and the node they want."""

from __future__ import annotations

from collections.abc import Mapping

CANNY, SKETCH, SOFT, CLEAN = "T2IAnnotateCanny", "T2IAnnotateSketch", "T2IAnnotateSoftEdge", "T2ICleanSketch"
LINEART, DEPTH, COLOR, SEGMENTS = (
    "T2IAnnotateLineart",
    "T2IAnnotateDepth",
    "T2IAnnotateColor",
    "T2IAnnotateSegmentation",
)
POSE, DRAW, GRAY, ANNOTATE = "T2IDetectPose", "T2IDrawPose", "T2IAnnotateGray", "T2IAnnotateFor"
LOAD, APPLY, STYLE, CONTROL = "LoadT2IAdapter", "ApplyT2IAdapter", "ApplyT2IStyleAdapter", "T2IAdapterToControlNet"
WEIGHTS, SCHEDULE, TRAIN, COMBINE = "T2IAdapterWeights", "T2IAdapterSchedule", "TrainT2IAdapter", "CombineT2IAdapters"
# ComfyUI has more nodes of this name than rows that show without scrolling.
CROWDED = ("controlnet",)

# Typed in every language.
LATIN: Mapping[str, str] = {
    "zoe": DEPTH, "dwpose": POSE, "t2i adapter": APPLY, "t2i-adapter": LOAD, "controlnet": CONTROL, "canny": CANNY,
    "hed": SOFT, "openpose": POSE, "midas": DEPTH, "coadapter": COMBINE, "pidinet": SKETCH, "scribble": SKETCH,
}  # fmt: skip
TERMS: Mapping[str, Mapping[str, str]] = {
    "en": {
        **LATIN, "doodle": CLEAN, "sketch": SKETCH, "drawing": CLEAN, "line drawing": CLEAN, "line art": LINEART,
        "lineart": LINEART, "edge detection": CANNY, "soft edge": SOFT, "depth": DEPTH, "depth map": DEPTH,
        "normal map": DEPTH, "color grid": COLOR, "color palette": COLOR, "colour": COLOR, "segmentation": SEGMENTS,
        "seg": SEGMENTS, "pose": POSE, "skeleton": DRAW, "stick figure": DRAW, "grayscale": GRAY,
        "black and white": GRAY, "style transfer": STYLE, "preprocessor": ANNOTATE, "sketch to image": APPLY,
        "training": TRAIN, "fine-tune": TRAIN, "level weights": WEIGHTS, "timestep": SCHEDULE,
    },
    "zh": {
        **LATIN, "涂鸦": CLEAN, "草图": SKETCH, "手绘": CLEAN, "线稿": LINEART, "线条": LINEART, "边缘": CANNY,
        "轮廓": CANNY, "深度": DEPTH, "深度图": DEPTH, "法线": DEPTH, "姿势": POSE, "姿态": POSE, "骨架": DRAW,
        "火柴人": DRAW, "颜色": COLOR, "调色板": COLOR, "色块": COLOR, "分割": SEGMENTS, "语义分割": SEGMENTS,
        "灰度": GRAY, "黑白": GRAY, "风格": STYLE, "参考图": STYLE, "控制网": CONTROL, "适配器": APPLY,
        "预处理": ANNOTATE, "权重": WEIGHTS, "训练": TRAIN,
    },
    "ja": {
        **LATIN, "落書き": CLEAN, "スケッチ": SKETCH, "ラフ": CLEAN, "線画": LINEART, "ペン入れ": LINEART,
        "エッジ": CANNY, "輪郭": CANNY, "深度": DEPTH, "奥行き": DEPTH, "法線": DEPTH, "ポーズ": POSE, "骨格": DRAW,
        "棒人間": DRAW, "色": COLOR, "カラー": COLOR, "配色": COLOR, "パレット": COLOR, "領域分割": SEGMENTS,
        "セグメンテーション": SEGMENTS, "グレースケール": GRAY, "白黒": GRAY, "画風": STYLE, "スタイル": STYLE,
        "コントロールネット": CONTROL, "アダプター": APPLY, "前処理": ANNOTATE, "強度": SCHEDULE, "学習": TRAIN,
    },
    "ko": {
        **LATIN, "스케치": SKETCH, "낙서": CLEAN, "손그림": CLEAN, "선화": LINEART, "라인아트": LINEART,
        "윤곽선": CANNY, "경계선": CANNY, "깊이": DEPTH, "노멀맵": DEPTH, "포즈": POSE, "자세": POSE,
        "스켈레톤": DRAW, "색상": COLOR, "팔레트": COLOR, "컬러": COLOR, "분할": SEGMENTS, "세그멘테이션": SEGMENTS,
        "회색": GRAY, "흑백": GRAY, "스타일": STYLE, "화풍": STYLE, "컨트롤넷": CONTROL, "어댑터": APPLY,
        "전처리": ANNOTATE, "가중치": WEIGHTS, "강도": SCHEDULE, "학습": TRAIN, "골격": DRAW,
    },
}  # fmt: skip
