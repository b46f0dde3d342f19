"""Words that people type into ComfyUI's search, in English, Chinese, Japanese and Korean.

The search reads a node's id, its name in the page's language, and its aliases, which have no translations.
"""

from __future__ import annotations

from collections.abc import Mapping

_SKETCH = (
    "doodle",
    "scribble",
    "sketch",
    "涂鸦",
    "草图",
    "手绘",
    "落書き",
    "ラフ",
    "手描き",
    "낙서",
    "스케치",
    "손그림",
)
_LINES = ("line drawing", "line art", "lineart", "线稿", "线条", "線画", "ペン入れ", "선화", "라인아트")
_EDGES = ("edge detection", "outline", "边缘", "轮廓", "エッジ", "輪郭", "윤곽선", "경계선")
_DEPTH = ("depth map", "normal map", "midas", "zoe", "深度", "法线", "奥行き", "法線", "깊이", "노멀맵")
_POSE = ("openpose", "dwpose", "skeleton", "姿势", "姿态", "骨架", "ポーズ", "骨格", "포즈", "자세", "골격", "스켈레톤")
_SEGMENTS = ("seg", "coco stuff", "分割", "语义", "領域分割", "セグメンテーション", "분할", "세그멘테이션")
_COLOURS = ("color grid", "color palette", "colour", "颜色", "色块", "配色", "カラー", "色", "색상", "팔레트", "컬러")
_GRAY = ("grayscale", "grey", "black and white", "灰度", "黑白", "白黒", "グレー", "흑백", "회색")
_STYLE = ("style transfer", "风格", "参考图", "画風", "スタイル", "스타일", "화풍")
_ADAPTER = ("t2i adapter", "t2i-adapter", "适配器", "アダプター", "어댑터")
_CONTROL = ("controlnet", "control net", "控制网", "コントロールネット", "컨트롤넷")
_STRENGTH = ("强度", "权重", "強度", "重み", "강도", "가중치")
_TRAIN = ("finetune", "fine-tune", "training", "训练", "微调", "学習", "トレーニング", "학습", "훈련")
_PREPROCESSOR = ("preprocessor", "预处理", "前処理", "전처리")

# By node id.
SEARCH_WORDS: Mapping[str, tuple[str, ...]] = {
    "LoadT2IAdapter": (*_ADAPTER, "加载", "読み込み", "불러오기", "로드"),
    "ApplyT2IAdapter": (*_ADAPTER, *_CONTROL, "sketch to image", "涂鸦", "姿势", "落書き", "ポーズ", "스케치", "포즈"),
    "T2IAdapterWeights": (
        "soft weights",
        "prompt is more important",
        "controlnet is more important",
        "layer weights",
        *_STRENGTH,
    ),
    "T2IAdapterSchedule": _STRENGTH,
    "T2IAdapterToControlNet": _CONTROL,
    "ApplyT2IStyleAdapter": _STYLE,
    "LoadT2IStyleAdapter": _STYLE,
    "T2IAnnotateCanny": (*_EDGES, *_PREPROCESSOR),
    "T2IAnnotateSketch": (*_SKETCH, "line drawing", *_PREPROCESSOR),
    "T2IAnnotateSoftEdge": (*_EDGES, *_PREPROCESSOR),
    "T2ICleanSketch": (*_SKETCH, *_LINES, "drawing", "xdog", "threshold", "invert drawing", "scan"),
    "T2IAnnotateLineart": (*_LINES, *_PREPROCESSOR),
    "T2IAnnotateDepth": (*_DEPTH, *_PREPROCESSOR),
    "T2INormalizeDepth": _DEPTH,
    "T2IAnnotateColor": (*_COLOURS, *_PREPROCESSOR),
    "T2IAnnotateSegmentation": (*_SEGMENTS, *_PREPROCESSOR),
    "T2IPaintSegmentation": _SEGMENTS,
    "T2IDetectPose": (*_POSE, *_PREPROCESSOR),
    "T2IDrawPose": (*_POSE, "stick figure", "棒人間", "火柴人"),
    "T2IAnnotateGray": _GRAY,
    "T2IAnnotateFor": _PREPROCESSOR,
    "TrainT2IAdapter": _TRAIN,
    "CreateT2IAdapter": _TRAIN,
    "SaveT2IAdapter": ("保存", "저장"),
}


def search_words(node_id: str, *own: str) -> list[str]:
    """Return a node's aliases without repetitions.

    Args:
        node_id: The node.
        own: Words for this node alone; they come first.
    """
    return list(dict.fromkeys((*own, *SEARCH_WORDS.get(node_id, ()))))
