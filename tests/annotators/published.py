"""Random networks of the published classes, tiny, and the files that transformers saves them to."""

from dataclasses import replace

import torch
from safetensors.torch import load_file
from t2i_adapter_pack.annotators.networks import transformers_models
from t2i_adapter_pack.annotators.networks.transformers_models import FromTransformers
from t2i_adapter_pack.annotators.table import NETWORK_ANNOTATORS, network_named

# What makes each published configuration small. The rest of the row stays as it is.
TINY = {
    "dpt-hybrid": {
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "image_size": 64,
        "backbone_out_indices": [0, 1, 2, 3],
        "backbone_featmap_shape": [1, 128, 4, 4],
        "neck_hidden_sizes": [32, 64, 32, 32],
        "fusion_hidden_size": 16,
        "backbone_config": {"depths": [1, 1, 1], "hidden_sizes": [32, 64, 128], "embedding_size": 16, "num_groups": 4},
    },
    "dpt-large": {
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "image_size": 64,
        "backbone_out_indices": [0, 1, 2, 3],
        "neck_hidden_sizes": [16, 16, 32, 32],
        "fusion_hidden_size": 16,
    },
    "zoedepth-nk": {
        "neck_hidden_sizes": [16, 16, 32, 32],
        "fusion_hidden_size": 16,
        "bottleneck_features": 16,
        "num_relative_features": 8,
        "bin_embedding_dim": 16,
        "num_attractors": [4, 4, 2, 1],
        "patch_transformer_intermediate_size": 32,
        "patch_transformer_num_attention_heads": 2,
        "bin_configurations": [
            {"name": "nyu", "n_bins": 8, "min_depth": 1e-3, "max_depth": 10.0},
            {"name": "kitti", "n_bins": 8, "min_depth": 1e-3, "max_depth": 80.0},
        ],
        "backbone_config": {
            "image_size": 64,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
    },
    "depth-anything-v2-small": {
        "reassemble_hidden_size": 32,
        "neck_hidden_sizes": [8, 8, 16, 16],
        "fusion_hidden_size": 8,
        "head_hidden_size": 8,
        "backbone_config": {
            "image_size": 70,
            "hidden_size": 32,
            "num_attention_heads": 2,
            "num_hidden_layers": 4,
            "out_indices": [1, 2, 3, 4],
        },
    },
    "maskformer-coco-stuff": {
        "fpn_feature_size": 32,
        "mask_feature_size": 32,
        "backbone_config": {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
        "decoder_config": {
            "d_model": 32,
            "decoder_layers": 2,
            "decoder_ffn_dim": 64,
            "decoder_attention_heads": 2,
            "num_queries": 20,
        },
    },
    "vitpose-base-simple": {
        "backbone_config": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "out_indices": [2]},
    },
}
FIT = {"zoedepth-nk": (64, 96), "depth-anything-v2-small": (70, 70), "maskformer-coco-stuff": (64, 64)}


def tiny_model(key):
    """A row with a tiny configuration and a tiny size, and nothing else changed."""
    model = network_named(key).load.model
    config = {**model.config, **TINY[key]}
    for part in ("backbone_config", "decoder_config"):
        if part in model.config:
            config[part] = {**model.config[part], **TINY[key][part]}
    return replace(model, config=config, fit=FIT.get(key, model.fit))


def tiny_rows():
    """The table of network annotators, those of transformers tiny."""
    return tuple(
        replace(row, load=FromTransformers(tiny_model(row.key))) if row.key in TINY else row
        for row in NETWORK_ANNOTATORS
    )


def their_network(model):
    """transformers' own network with random weights, none of them zero."""
    torch.manual_seed(0)
    network = transformers_models.build_network(model).eval()
    for name, parameter in network.named_parameters():
        scale = 0.3 if parameter.ndim < 2 else 1 / parameter[0].numel() ** 0.5
        # So that different queries win at different places.
        scale *= 20 if "class_predictor" in name or "mask_embedder" in name else 1
        parameter.data = torch.randn_like(parameter) * scale + (parameter.ndim == 1 and name.endswith("weight"))
        # Or the last ReLU of a depth network would leave nothing.
        if name.endswith(("head.head.4.bias", "head.conv3.bias")):
            parameter.data += 3
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    return network


def saved(network, folder):
    """The tensors of the file that transformers writes, in the layout of published files."""
    network.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


KEYS = [row.key for row in NETWORK_ANNOTATORS if isinstance(row.load, FromTransformers)]
DEPTH = [key for key in KEYS if network_named(key).load.model.task == "depth"]
