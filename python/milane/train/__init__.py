"""Models that are trained and sampled here: their sizes, weights, files, and text from them."""

from milane.train import huggingface, llama2c, ops
from milane.train.checkpoint import (
    Checkpoint,
    CheckpointHeader,
    ModelAdam,
    checkpoints,
    latest,
    save_step,
)
from milane.train.config import Llama2Config, ModelConfig
from milane.train.data import TokenData, load_data
from milane.train.decoder import Decoder
from milane.train.generate import Generation, Generator, Piece, Run
from milane.train.kernels import LayerKernels
from milane.train.loop import StepResult, Trainer, TrainOptions
from milane.train.model import Model
from milane.train.model_files import load_model, load_tokenizer, save_model
from milane.train.sampling import Sampler, Sampling
from milane.train.text_stream import TextStream
from milane.train.tokenizer import BPETokenizer, ByteTokenizer, Tokenizer
from milane.train.weights import (
    AdamState,
    LayerActs,
    LayerAdam,
    LayerGrads,
    LayerWeights,
    ModelWeights,
)

__all__ = [
    "AdamState",
    "BPETokenizer",
    "ByteTokenizer",
    "Checkpoint",
    "CheckpointHeader",
    "Decoder",
    "Generation",
    "Generator",
    "LayerActs",
    "LayerAdam",
    "LayerGrads",
    "LayerKernels",
    "LayerWeights",
    "Llama2Config",
    "Model",
    "ModelAdam",
    "ModelConfig",
    "ModelWeights",
    "Piece",
    "Run",
    "Sampler",
    "Sampling",
    "StepResult",
    "TextStream",
    "TokenData",
    "Tokenizer",
    "TrainOptions",
    "Trainer",
    "checkpoints",
    "huggingface",
    "latest",
    "llama2c",
    "load_data",
    "load_model",
    "load_tokenizer",
    "ops",
    "save_model",
    "save_step",
]
